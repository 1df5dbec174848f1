import { Button, PasswordInput, TextInput, UnstyledButton } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { getRouteApi, useRouter } from '@tanstack/react-router';
import { type FormEvent, useEffect, useState } from 'react';
import { api, data, setCsrfToken } from '#/api/client';
import { asProblem } from '#/api/problem';
import { sessionQuery } from '#/api/session';
import { chooseLanguage, currentLanguage, type Language, languages, useWords } from '#/i18n';
import { BellMark } from '#/ui/bell';
import { Notice } from '#/ui/notice';
import classes from './page.module.css';
import { signInWords } from './words';

const route = getRouteApi('/sign-in');

export function SignInPage() {
  const say = useWords(signInWords);
  const router = useRouter();
  const queries = useQueryClient();
  const { next, error: why } = route.useSearch();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();

  useEffect(() => {
    document.title = `${say('title')} · Carillon`;
  });

  async function signIn(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setProblem(undefined);
    try {
      const session = await data(api.POST('/api/v1/sessions', { body: { name, password } }));
      setCsrfToken(session.csrf_token);
      queries.clear();
      await queries.fetchQuery(sessionQuery);
      // Only a path of ours: whoever made the link must not send people elsewhere.
      const to = next?.startsWith('/') && !next.startsWith('//') ? next : '/';
      router.history.push(router.options.basepath === '/' ? to : `${router.options.basepath}${to}`);
    } catch (error) {
      const refused = asProblem(error);
      setProblem(
        refused.status === 401
          ? say('wrong')
          : refused.status !== 429
            ? refused.message
            : refused.retryAfter === undefined
              ? say('too_many_unknown')
              : say('too_many', { seconds: refused.retryAfter }),
      );
      setBusy(false);
    }
  }

  return (
    <main className={classes.screen}>
      <div className={classes.card}>
        <div className={classes.brand}>
          <BellMark size={44} />
          <h1>Carillon</h1>
          <p className="muted">{say('motto')}</p>
        </div>
        {!problem && why === 'code_used_up' && <Notice tone="orange">{say('code_used_up')}</Notice>}
        {!problem && why === 'signed_out' && <Notice tone="blue">{say('signed_out')}</Notice>}
        {problem && <Notice tone="red">{problem}</Notice>}
        <form onSubmit={(event) => void signIn(event)} className={classes.form}>
          <TextInput
            size="sm"
            label={say('name')}
            autoComplete="username"
            autoFocus
            required
            withAsterisk={false}
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <PasswordInput
            label={say('password')}
            autoComplete="current-password"
            required
            withAsterisk={false}
            value={password}
            onChange={(event) => setPassword(event.currentTarget.value)}
            visibilityToggleButtonProps={{ 'aria-label': say('show') }}
          />
          <Button type="submit" size="sm" loading={busy} fullWidth mt={4}>
            {say('submit')}
          </Button>
        </form>
      </div>
      <div className={classes.languages}>
        {(Object.keys(languages) as Language[]).map((choice) => (
          <UnstyledButton
            key={choice}
            lang={choice}
            className={classes.language}
            aria-pressed={choice === currentLanguage()}
            onClick={() => chooseLanguage(choice)}
          >
            {languages[choice]}
          </UnstyledButton>
        ))}
      </div>
    </main>
  );
}
