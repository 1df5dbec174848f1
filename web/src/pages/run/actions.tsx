import { Button, Checkbox, Group, Menu, Modal } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconBan, IconCopy, IconLink, IconRefresh, IconRepeat, IconTerminal2 } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, data } from '#/api/client';
import { asProblem } from '#/api/problem';
import type { RunDetail } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { newKey } from '#/lib/key';
import { Confirm } from '#/ui/confirm';
import { copyAndTell } from '#/ui/copy';
import { JsonEditor, parseJson } from '#/ui/json';
import { Notice } from '#/ui/notice';
import { isFinal } from '#/ui/state';
import { tell } from '#/ui/tell';
import { uiWords } from '#/ui/words';
import { cliLog, cliTrigger, curlTrigger } from './commands';
import { runWords } from './words';

/** What one can do with a run, as far as one may. */
export function RunActions({ run, parallel }: { run: RunDetail; parallel: boolean }) {
  const say = useWords(runWords);
  const can = useCan();
  const queries = useQueryClient();
  const [cancel, cancelDialog] = useDisclosure(false);
  const [retry, retryDialog] = useDisclosure(false);
  const [again, againDialog] = useDisclosure(false);
  const [failedOnly, setFailedOnly] = useState(parallel);
  const mayAct = can('operator', run.group);
  const job = run.job_name ?? say('deleted_job');
  const params = run.own_params ? run.params : undefined;
  const refresh = () => queries.invalidateQueries({ queryKey: ['run', run.id] });

  return (
    <>
      <Menu>
        <Menu.Target>
          <Button variant="default" leftSection={<IconCopy size={14} />}>
            {say('copy_as')}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item
            leftSection={<IconTerminal2 size={15} />}
            onClick={() => void copyAndTell(curlTrigger(run.job, params))}
          >
            {say('copy_curl')}
          </Menu.Item>
          <Menu.Item
            leftSection={<IconTerminal2 size={15} />}
            onClick={() => void copyAndTell(cliTrigger(run.job, params))}
          >
            {say('copy_cli')}
          </Menu.Item>
          <Menu.Item leftSection={<IconTerminal2 size={15} />} onClick={() => void copyAndTell(cliLog(run.id))}>
            {say('logs_cli')}
          </Menu.Item>
          <Menu.Item leftSection={<IconLink size={15} />} onClick={() => void copyAndTell(window.location.href)}>
            {say('copy_link')}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {mayAct && run.job_name && (
        <Button variant="default" leftSection={<IconRepeat size={14} />} onClick={againDialog.open}>
          {say('again')}
        </Button>
      )}
      {mayAct && isFinal(run.state) && run.state !== 'succeeded' && (
        <Button leftSection={<IconRefresh size={14} />} onClick={retryDialog.open}>
          {say('retry')}
        </Button>
      )}
      {mayAct && !isFinal(run.state) && (
        <Button color="red" variant="light" leftSection={<IconBan size={14} />} onClick={cancelDialog.open}>
          {say('cancel')}
        </Button>
      )}
      <Confirm
        opened={cancel}
        onClose={cancelDialog.close}
        title={say('cancel_title')}
        verb={say('cancel')}
        dangerous
        onConfirm={async () => {
          await api.POST('/api/v1/runs/{run}/cancel', { params: { path: { run: run.id } } });
          tell(say('cancelled', { job }));
          await refresh();
        }}
      >
        {say('cancel_text')}
      </Confirm>
      <Confirm
        opened={retry}
        onClose={retryDialog.close}
        title={say('retry_title')}
        verb={say('retry')}
        onConfirm={async () => {
          const retried = await data(
            api.POST('/api/v1/runs/{run}/retry', {
              params: { path: { run: run.id } },
              ...(parallel ? { body: { failed_subtasks_only: failedOnly } } : {}),
            }),
          );
          tell(say('retried', { number: retried.next_attempt }));
          await refresh();
        }}
      >
        {say('retry_text', { number: run.attempt + 1 })}
        {parallel && (
          <Checkbox
            mt="md"
            size="sm"
            label={say('retry_failed')}
            checked={failedOnly}
            onChange={(event) => setFailedOnly(event.currentTarget.checked)}
          />
        )}
      </Confirm>
      {again && <RunAgain run={run} job={job} onClose={againDialog.close} />}
    </>
  );
}

/** Starts a new run with params that can be edited first. */
function RunAgain({ run, job, onClose }: { run: RunDetail; job: string; onClose: () => void }) {
  const say = useWords(runWords);
  const ui = useWords(uiWords);
  const navigate = useNavigate();
  const before = JSON.stringify(run.params, null, 2) ?? '';
  const [text, setText] = useState(before);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const [key] = useState(newKey);
  const parsed = parseJson(text);

  async function start() {
    if ('error' in parsed) return;
    setBusy(true);
    setError(undefined);
    try {
      const started = await data(
        api.POST('/api/v1/jobs/{job}/runs', {
          params: { path: { job: run.job }, header: { 'Idempotency-Key': key } },
          ...(text === before && !run.own_params ? {} : { body: { params: parsed.value } }),
        }),
      );
      if (started.warning) tell(started.warning);
      onClose();
      void navigate({ to: '/runs/$run', params: { run: started.run_id } });
    } catch (error) {
      setError(asProblem(error).message);
      setBusy(false);
    }
  }

  return (
    <Modal
      opened
      onClose={onClose}
      title={say('again_title', { job })}
      size="lg"
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      <p className="muted" style={{ marginTop: 0 }}>
        {say('again_text')}
      </p>
      <JsonEditor value={text} onChange={setText} label={say('params')} />
      {'error' in parsed && (
        <Notice tone="red" mt={10}>
          {ui('not_json', { message: parsed.error })}
        </Notice>
      )}
      {error && (
        <Notice tone="red" mt={10}>
          {error}
        </Notice>
      )}
      <Group justify="flex-end" mt="lg" gap="xs">
        <Button variant="default" onClick={onClose}>
          {ui('cancel')}
        </Button>
        <Button onClick={() => void start()} loading={busy} disabled={'error' in parsed}>
          {say('again_submit')}
        </Button>
      </Group>
    </Modal>
  );
}
