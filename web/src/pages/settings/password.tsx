import { Button, PasswordInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';
import { api, data, setCsrfToken } from '#/api/client';
import { asProblem, type ProblemError } from '#/api/problem';
import { sessionQuery } from '#/api/session';
import { useWords } from '#/i18n';
import { Notice } from '#/ui/notice';
import { Panel } from '#/ui/page';
import { tell } from '#/ui/tell';
import classes from './page.module.css';
import { settingsWords } from './words';

/** Changes one's own password. The API ends every session; this browser signs in again by itself. */
export function Password() {
  const say = useWords(settingsWords);
  const queries = useQueryClient();
  const navigate = useNavigate();
  const { data: session } = useQuery(sessionQuery);
  const [current, setCurrent] = useState('');
  const [fresh, setFresh] = useState('');
  const [again, setAgain] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ProblemError>();
  const fault = (field: string) => problem?.fields.find((entry) => entry.field === field)?.message;
  const differs = again !== '' && again !== fresh;
  const visibility = { 'aria-label': say('show') };

  async function change(event: FormEvent) {
    event.preventDefault();
    if (!session || fresh !== again) return;
    setBusy(true);
    setProblem(undefined);
    try {
      await api.POST('/api/v1/me/password', { body: { current, new: fresh } });
    } catch (error) {
      setProblem(asProblem(error));
      setBusy(false);
      return;
    }
    try {
      const next = await data(api.POST('/api/v1/sessions', { body: { name: session.user.name, password: fresh } }));
      setCsrfToken(next.csrf_token);
      await queries.invalidateQueries();
      tell(say('changed'));
      setCurrent('');
      setFresh('');
      setAgain('');
    } catch {
      queries.setQueryData(sessionQuery.queryKey, null);
      void navigate({ to: '/sign-in', search: { next: '/settings', error: 'signed_out' } });
    } finally {
      setBusy(false);
    }
  }

  return (
    <Panel title={say('password')}>
      <form onSubmit={(event) => void change(event)} className={classes.form}>
        <span className="muted">{say('password_hint')}</span>
        {/* Password managers want to know whose password it is. */}
        <input type="text" autoComplete="username" value={session?.user.name ?? ''} readOnly hidden />
        <PasswordInput
          size="xs"
          label={say('current')}
          autoComplete="current-password"
          value={current}
          onChange={(event) => setCurrent(event.currentTarget.value)}
          error={fault('current')}
          visibilityToggleButtonProps={visibility}
          required
        />
        <PasswordInput
          size="xs"
          label={say('new')}
          description={say('new_hint')}
          autoComplete="new-password"
          minLength={8}
          value={fresh}
          onChange={(event) => setFresh(event.currentTarget.value)}
          error={fault('new')}
          visibilityToggleButtonProps={visibility}
          required
        />
        <PasswordInput
          size="xs"
          label={say('again')}
          autoComplete="new-password"
          value={again}
          onChange={(event) => setAgain(event.currentTarget.value)}
          error={differs ? say('differs') : undefined}
          visibilityToggleButtonProps={visibility}
          required
        />
        {problem && problem.fields.length === 0 && <Notice tone="red">{problem.message}</Notice>}
        <Button type="submit" loading={busy} disabled={differs} style={{ justifySelf: 'start' }}>
          {say('change')}
        </Button>
      </form>
    </Panel>
  );
}
