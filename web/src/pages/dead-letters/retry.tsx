import { Button, Checkbox, Group, Modal } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, data } from '#/api/client';
import { asProblem } from '#/api/problem';
import { jobQuery, type Run, type RunDetail, runQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { newKey } from '#/lib/key';
import { JsonEditor, parseJson } from '#/ui/json';
import { Notice } from '#/ui/notice';
import { Failed, Loading } from '#/ui/states';
import { tell } from '#/ui/tell';
import { uiWords } from '#/ui/words';
import { deadLettersWords } from './words';

/** Retries one dead letter, with its params or with others. */
export function RetryOne({ run, onClose }: { run: Run; onClose: () => void }) {
  const say = useWords(deadLettersWords);
  const ui = useWords(uiWords);
  const detail = useQuery(runQuery(run.id));
  const name = run.job_name ?? say('deleted_job', { id: run.job });
  return (
    <Modal
      opened
      onClose={onClose}
      title={say('retry_title', { job: name })}
      size="lg"
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      {detail.isPending ? (
        <Loading compact />
      ) : detail.isError ? (
        <Failed error={detail.error} retry={() => void detail.refetch()} compact />
      ) : (
        <Form run={detail.data} name={name} onClose={onClose} />
      )}
    </Modal>
  );
}

function Form({ run, name, onClose }: { run: RunDetail; name: string; onClose: () => void }) {
  const say = useWords(deadLettersWords);
  const ui = useWords(uiWords);
  const queries = useQueryClient();
  const navigate = useNavigate();
  const job = useQuery({ ...jobQuery(String(run.job)), enabled: run.job_name != null });
  const before = JSON.stringify(run.params, null, 2) ?? 'null';
  const [text, setText] = useState(before);
  const [failedOnly, setFailedOnly] = useState(true);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const [key] = useState(newKey);
  const parsed = parseJson(text);
  const changed = !('error' in parsed) && JSON.stringify(parsed.value) !== JSON.stringify(run.params);
  const parallel = job.data?.kind === 'parallel';

  async function startAnew(params: unknown) {
    const started = await data(
      api.POST('/api/v1/jobs/{job}/runs', {
        params: { path: { job: run.job }, header: { 'Idempotency-Key': key } },
        body: { params },
      }),
    );
    if (started.warning) tell(started.warning);
    await api.POST('/api/v1/dead-letters/{run}/discard', { params: { path: { run: run.id } } });
    void navigate({ to: '/runs/$run', params: { run: started.run_id } });
  }

  async function submit() {
    if ('error' in parsed) return;
    setBusy(true);
    setError(undefined);
    try {
      if (changed) await startAnew(parsed.value);
      else {
        await api.POST('/api/v1/dead-letters/{run}/retry', {
          params: { path: { run: run.id } },
          body: parallel ? { failed_subtasks_only: failedOnly } : null,
        });
        tell(say('retried', { job: name, number: run.attempt + 1 }));
      }
      void queries.invalidateQueries({ queryKey: ['runs'] });
      void queries.invalidateQueries({ queryKey: ['run', run.id] });
      onClose();
    } catch (error) {
      setError(asProblem(error).message);
      setBusy(false);
    }
  }

  return (
    <>
      <p className="muted" style={{ marginTop: 0 }}>
        {changed ? say('retry_changed') : say('retry_text', { number: run.attempt + 1 })}
      </p>
      {run.job_name != null && <JsonEditor value={text} onChange={setText} label={say('params')} />}
      {parallel && !changed && (
        <Checkbox
          mt="md"
          size="sm"
          label={say('retry_failed_only')}
          checked={failedOnly}
          onChange={(event) => setFailedOnly(event.currentTarget.checked)}
        />
      )}
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
        <Button
          onClick={() => void submit()}
          loading={busy}
          disabled={'error' in parsed || job.isLoading}
          data-autofocus
        >
          {changed ? say('start_submit') : say('retry_submit')}
        </Button>
      </Group>
    </>
  );
}
