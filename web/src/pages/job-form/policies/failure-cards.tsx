import { Checkbox, Switch, TextInput } from '@mantine/core';
import { useWords } from '#/i18n';
import { durationText, formatDuration } from '#/lib/duration';
import { count } from '#/lib/time';
import { fieldId, useForm } from '../state';
import { Tiles } from '../tiles';
import { formWords } from '../words';
import { waitsOf } from './backoff';
import { PolicyCard } from './card';
import classes from './card.module.css';
import { ParallelDrawing, RetryDrawing, TimeoutDrawing, WorkerLostDrawing } from './drawings';
import { differs, PolicyField, standard } from './fields';
import { policyWords } from './policies.words';

/** An attempt failed. */
export function Retry() {
  const say = useWords(policyWords);
  const form = useWords(formWords);
  const { draft, set } = useForm();
  const { retry } = draft;
  const waits = waitsOf(retry);
  const retries = retry.max_attempts.trim() !== '1' && retry.max_attempts.trim() !== '';
  const all = waits?.reduce((sum, wait) => sum + wait.longest, 0) ?? 0;
  return (
    <PolicyCard
      title={form('field.retry')}
      question={say('retry_question')}
      changed={differs(
        draft,
        'retry',
        retries ? ['max_attempts', 'backoff', 'initial', 'max', 'jitter', 'on'] : ['max_attempts'],
      )}
      onReset={() => set('retry', standard.retry)}
      drawing={<RetryDrawing waits={waits} />}
      text={
        waits === undefined
          ? say('retry_wrong')
          : waits.length === 0
            ? say('retry_none_text')
            : say('retry_text', { attempts: waits.length + 1, all: formatDuration(all) })
      }
    >
      <PolicyField of="retry" part="max_attempts" kind="number" description={say('retry_attempts_hint')} />
      {retries && (
        <>
          <Tiles
            id={fieldId('retry.backoff')}
            label={form('field.retry.backoff')}
            labelHidden
            tiles={(['exponential', 'fixed'] as const).map((value) => ({ value, label: say(`backoff.${value}`) }))}
            value={retry.backoff}
            onChange={(backoff) => set('retry', { backoff })}
            standard="exponential"
            standardWord={form('default')}
          />
          <div className={classes.pair}>
            <PolicyField of="retry" part="initial" kind="duration" />
            {retry.backoff === 'exponential' && <PolicyField of="retry" part="max" kind="duration" />}
            <PolicyField of="retry" part="jitter" kind="number" />
          </div>
          <fieldset id={fieldId('retry.on')} className={classes.checks} style={{ border: 0, margin: 0, padding: 0 }}>
            <legend style={{ fontSize: 12, fontWeight: 500, padding: 0 }}>{form('field.retry.on')}</legend>
            {(['failure', 'timeout'] as const).map((end) => (
              <Checkbox
                key={end}
                size="xs"
                label={form(`field.retry.on.${end}`)}
                checked={retry.on[end]}
                onChange={(event) => set('retry', { on: { ...retry.on, [end]: event.currentTarget.checked } })}
              />
            ))}
          </fieldset>
        </>
      )}
    </PolicyCard>
  );
}

/** An attempt takes too long. */
export function Timeout() {
  const say = useWords(policyWords);
  const form = useWords(formWords);
  const { draft, set, faultOf } = useForm();
  const timeout = durationText(draft.timeout);
  return (
    <PolicyCard
      title={form('field.timeout')}
      question={say('timeout_question')}
      changed={timeout !== ''}
      onReset={() => set('timeout', '')}
      drawing={<TimeoutDrawing timeout={timeout} />}
      text={timeout ? say('timeout_text', { timeout }) : say('timeout_none_text')}
    >
      <TextInput
        id={fieldId('timeout')}
        label={form('field.timeout')}
        description={say('timeout_hint')}
        placeholder={say('no_bound')}
        value={draft.timeout}
        onChange={(event) => set('timeout', event.currentTarget.value)}
        error={faultOf('timeout')}
      />
    </PolicyCard>
  );
}

const LOST = ['retry', 'retry_strict', 'skip'] as const;

/** The worker vanishes while it runs. */
export function WorkerLost() {
  const say = useWords(policyWords);
  const form = useWords(formWords);
  const { draft, set } = useForm();
  return (
    <PolicyCard
      title={form('field.worker_lost')}
      question={say('worker_lost_question')}
      changed={draft.worker_lost !== standard.worker_lost}
      onReset={() => set('worker_lost', standard.worker_lost)}
      drawing={<WorkerLostDrawing policy={draft.worker_lost} />}
      text={say(`worker_lost.${draft.worker_lost}_text`)}
    >
      <Tiles
        id={fieldId('worker_lost')}
        label={form('field.worker_lost')}
        labelHidden
        tiles={LOST.map((value) => ({ value, label: say(`worker_lost.${value}`) }))}
        value={draft.worker_lost}
        onChange={(policy) => set('worker_lost', policy)}
        standard="retry"
        standardWord={form('default')}
      />
    </PolicyCard>
  );
}

const PARTS = ['max_failed', 'max_attempts', 'retry_delay', 'timeout', 'per_worker', 'reissue_stragglers'] as const;

/** The subtasks of a parallel job. */
export function Parallel() {
  const say = useWords(policyWords);
  const form = useWords(formWords);
  const { draft, set } = useForm();
  const { parallel } = draft;
  const tolerated = Number(parallel.max_failed.replaceAll(',', '') || '0');
  return (
    <PolicyCard
      title={form('field.parallel')}
      question={say('parallel_question')}
      changed={differs(draft, 'parallel', PARTS)}
      onReset={() => set('parallel', standard.parallel)}
      drawing={<ParallelDrawing tolerated={Number.isFinite(tolerated) ? tolerated : 0} />}
      wide
      text={tolerated > 0 ? say('parallel_text', { failed: count(tolerated) }) : say('parallel_none_text')}
    >
      <div className={classes.pair}>
        <PolicyField of="parallel" part="max_failed" kind="number" />
        <PolicyField of="parallel" part="per_worker" kind="number" />
        <PolicyField of="parallel" part="max_attempts" kind="number" />
        <PolicyField of="parallel" part="retry_delay" kind="duration" />
        <PolicyField of="parallel" part="timeout" kind="duration" />
      </div>
      <Switch
        id={fieldId('parallel.reissue_stragglers')}
        size="xs"
        label={form('field.parallel.reissue_stragglers')}
        checked={parallel.reissue_stragglers}
        onChange={(event) => set('parallel', { reissue_stragglers: event.currentTarget.checked })}
      />
    </PolicyCard>
  );
}
