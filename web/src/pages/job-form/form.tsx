import { Button, Modal, Group as Row } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useBlocker, useNavigate, useRouter } from '@tanstack/react-router';
import { type KeyboardEvent, useEffect, useRef, useState } from 'react';
import { asProblem } from '#/api/problem';
import { type Group, type Job, jobQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { actorText } from '#/lib/actor';
import { useZone } from '#/lib/preferences';
import { instant } from '#/lib/time';
import { Notice } from '#/ui/notice';
import { uiWords } from '#/ui/words';
import { Basic } from './basic';
import { Conflict } from './conflict/conflict';
import { type Draft, draftOf, type JobSpec, specOf } from './draft';
import { useFieldName } from './field-name';
import { forget, keep, kept } from './kept';
import classes from './page.module.css';
import { Params } from './params';
import { Policies } from './policies/policies';
import { create, faultsOf, faultsOfRefusal, replace, type Saved, tellSaved } from './save';
import { ScheduleBlock } from './schedule';
import { type Fault, FormProvider, focusField, useFormState } from './state';
import { formWords } from './words';

interface JobFormProps {
  /** What stands in the form first. */
  first: Draft;
  /** The job as it is in force, read again and again; none for a new one. */
  current?: Job;
  /** Under what name the typed is kept while the window lives. */
  keptAs: string;
  groups: readonly Group[];
}

/** Creates a job, or edits one without losing what anybody wrote: neither what was typed here nor what was saved elsewhere. */
export function JobForm({ first, current, keptAs, groups }: JobFormProps) {
  const say = useWords(formWords);
  const navigate = useNavigate();
  const router = useRouter();
  const queries = useQueryClient();
  const [restored, setRestored] = useState(() => kept(keptAs));
  const [base, setBase] = useState(restored?.base ?? current);
  const [clean, setClean] = useState(() => JSON.stringify(restored?.base ? draftOf(restored.base) : first));
  const { form, draft, setDraft, faults, setFaults } = useFormState(restored?.draft ?? first, base !== undefined);
  const [asked, setAsked] = useState(0);
  const [busy, setBusy] = useState(false);
  const [theirs, setTheirs] = useState<Job>();
  const [gone, setGone] = useState(false);
  const done = useRef(false);
  const dirty = JSON.stringify(draft) !== clean;

  useEffect(() => {
    if (done.current) return;
    // At once: whoever reloads in the middle of a word finds the word.
    if (dirty) keep(keptAs, { draft, base });
    else forget(keptAs);
  }, [dirty, draft, base, keptAs]);

  const blocker = useBlocker({
    // Who was signed out finds the typed again after signing in.
    shouldBlockFn: ({ current, next }) =>
      dirty && !done.current && next.pathname !== current.pathname && !next.pathname.endsWith('/sign-in'),
    enableBeforeUnload: () => dirty && !done.current,
    withResolver: true,
  });

  function begin(job: Job | undefined, with_: Draft) {
    forget(keptAs);
    setRestored(undefined);
    setBase(job);
    setClean(JSON.stringify(job ? draftOf(job) : with_));
    setDraft(with_);
    setFaults([]);
    setTheirs(undefined);
  }

  function refuse(found: Fault[]) {
    setFaults(found);
    setAsked((asked) => asked + 1);
  }

  function finish(saved: Saved) {
    done.current = true;
    forget(keptAs);
    tellSaved(saved, base === undefined || gone);
    const id = String(saved.id);
    queries.setQueryData(jobQuery(id).queryKey, saved);
    for (const key of [['jobs'], ['job', id], ['fires', id]]) void queries.invalidateQueries({ queryKey: key });
    void navigate({ to: '/jobs/$job', params: { job: id } });
  }

  /** Saves on top of `onto`; when somebody else was faster, shows what they did. */
  async function save(spec: JobSpec, onto: Job | undefined) {
    setBusy(true);
    try {
      finish(onto && !gone ? await replace(onto.id, onto.revision, spec) : await create(spec));
    } catch (error) {
      const { status } = asProblem(error);
      if (onto && status === 412) {
        setTheirs(await queries.fetchQuery({ ...jobQuery(String(onto.id)), staleTime: 0 }));
      } else {
        if (onto && onto !== base) begin(onto, draftOf(spec));
        if (onto && status === 404) setGone(true);
        else refuse(faultsOfRefusal(error));
      }
    } finally {
      setBusy(false);
    }
  }

  async function submit() {
    if (busy) return;
    const found = faultsOf(draft);
    if (found.length > 0) refuse(found);
    // What reading it again failed with is a refusal like any other.
    else await save(specOf(draft), base).catch((error) => refuse(faultsOfRefusal(error)));
  }

  function onKey(event: KeyboardEvent) {
    if (!(event.ctrlKey || event.metaKey) || (event.key !== 's' && event.key !== 'Enter')) return;
    event.preventDefault();
    void submit();
  }

  const meanwhile = base && current && current.revision > base.revision ? current : undefined;
  return (
    <FormProvider form={form}>
      <form
        className={classes.form}
        noValidate
        onKeyDown={onKey}
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <Summary faults={faults} asked={asked} />
        {restored && dirty && (
          <Notice tone="blue">
            {say('restored')}{' '}
            <button
              type="button"
              className={classes.link}
              onClick={() => begin(current, current ? draftOf(current) : first)}
            >
              {say('start_over')}
            </button>
          </Notice>
        )}
        {meanwhile && !gone && <Meanwhile job={meanwhile} onSee={() => setTheirs(meanwhile)} />}
        {gone && <Notice tone="orange">{say('conflict.gone')}</Notice>}
        <Basic groups={groups} />
        <ScheduleBlock />
        <Params />
        <Policies />
        <div className={classes.bar}>
          <Button type="submit" loading={busy}>
            {gone ? say('conflict.as_new') : say(base ? 'save' : 'create')}
          </Button>
          <Button variant="default" onClick={() => router.history.back()} disabled={busy}>
            {say('cancel')}
          </Button>
          <span className="muted" role="status">
            {dirty ? say('unsaved') : ''}
          </span>
        </div>
      </form>
      {theirs && base && (
        <Conflict
          key={theirs.revision}
          base={base}
          mine={specOf(draft)}
          theirs={theirs}
          onBack={() => setTheirs(undefined)}
          onTakeTheirs={() => begin(theirs, draftOf(theirs))}
          onSave={(spec) => save(spec, theirs)}
        />
      )}
      {blocker.status === 'blocked' && (
        <Leave
          onStay={blocker.reset}
          onLeave={() => {
            done.current = true;
            forget(keptAs);
            blocker.proceed();
          }}
        />
      )}
    </FormProvider>
  );
}

/** What is wrong, each entry leading to its field; it takes the focus so that nobody has to look for it. */
function Summary({ faults, asked }: { faults: readonly Fault[]; asked: number }) {
  const say = useWords(formWords);
  const fieldName = useFieldName();
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (asked === 0) return;
    box.current?.focus();
    box.current?.scrollIntoView({ block: 'nearest' });
  }, [asked]);
  if (faults.length === 0) return null;
  const named = faults.filter(({ field }) => field !== '').length;
  return (
    <div ref={box} className={classes.summary} role="alert" tabIndex={-1}>
      <h2>{named > 0 ? say('errors', { count: named }) : say('refused')}</h2>
      <ul>
        {faults.map(({ field, message }) => (
          <li key={`${field} ${message}`}>
            {field === '' ? (
              message
            ) : (
              <button type="button" className={classes.link} onClick={() => focusField(field)}>
                {fieldName(field)}: {message}
              </button>
            )}
          </li>
        ))}
      </ul>
    </div>
  );
}

function Meanwhile({ job, onSee }: { job: Job; onSee: () => void }) {
  const say = useWords(formWords);
  const zone = useZone();
  const when = instant(new Date(job.updated_at), zone, false);
  return (
    <Notice tone="orange">
      {say('meanwhile', { name: actorText(job.updated_by), when })}{' '}
      <button type="button" className={classes.link} onClick={onSee}>
        {say('see_difference')}
      </button>
    </Notice>
  );
}

function Leave({ onStay, onLeave }: { onStay: () => void; onLeave: () => void }) {
  const say = useWords(formWords);
  const ui = useWords(uiWords);
  return (
    <Modal opened onClose={onStay} title={say('leave_title')} closeButtonProps={{ 'aria-label': ui('close') }}>
      {say('leave_text')}
      <Row justify="flex-end" gap="xs" mt="lg">
        <Button variant="default" onClick={onLeave}>
          {say('leave')}
        </Button>
        <Button onClick={onStay} data-autofocus>
          {say('stay')}
        </Button>
      </Row>
    </Modal>
  );
}
