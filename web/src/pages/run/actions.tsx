import { Button, Checkbox, Menu, Modal } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconBan, IconCopy, IconLink, IconRefresh, IconRepeat, IconTerminal2 } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, data } from '#/api/client';
import type { RunDetail } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { newKey } from '#/lib/key';
import { Confirm } from '#/ui/confirm';
import { copyAndTell } from '#/ui/copy';
import { ParamsForm } from '#/ui/params-form';
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
  const [key] = useState(newKey);

  async function start(changed: { params: unknown } | undefined) {
    const started = await data(
      api.POST('/api/v1/jobs/{job}/runs', {
        params: { path: { job: run.job }, header: { 'Idempotency-Key': key } },
        // Said even where they are the job's: those may be others by now.
        body: changed ?? { params: run.params },
      }),
    );
    if (started.warning) tell(started.warning);
    onClose();
    void navigate({ to: '/runs/$run', params: { run: started.run_id } });
  }

  return (
    <Modal
      opened
      onClose={onClose}
      title={say('again_title', { job })}
      size="lg"
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      <ParamsForm
        params={run.params}
        label={say('params')}
        text={() => say('again_text')}
        verb={() => say('again_submit')}
        onCancel={onClose}
        onSubmit={start}
      />
    </Modal>
  );
}
