import { Checkbox, Modal } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, data } from '#/api/client';
import { jobQuery, type Run, type RunDetail, runQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { newKey } from '#/lib/key';
import { ParamsForm } from '#/ui/params-form';
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
  const queries = useQueryClient();
  const navigate = useNavigate();
  const job = useQuery({ ...jobQuery(String(run.job)), enabled: run.job_name != null });
  const [failedOnly, setFailedOnly] = useState(true);
  const [key] = useState(newKey);
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

  async function submit(changed: { params: unknown } | undefined) {
    if (changed) await startAnew(changed.params);
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
  }

  return (
    <ParamsForm
      params={run.params}
      label={say('params')}
      // A job that is gone can be retried as it was, and not started anew.
      editable={run.job_name != null}
      disabled={job.isLoading}
      text={(changed) => (changed ? say('retry_changed') : say('retry_text', { number: run.attempt + 1 }))}
      verb={(changed) => (changed ? say('start_submit') : say('retry_submit'))}
      more={(changed) =>
        parallel &&
        !changed && (
          <Checkbox
            mt="md"
            size="sm"
            label={say('retry_failed_only')}
            checked={failedOnly}
            onChange={(event) => setFailedOnly(event.currentTarget.checked)}
          />
        )
      }
      onCancel={onClose}
      onSubmit={submit}
    />
  );
}
