import { Button } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { api, data } from '#/api/client';
import { useWords } from '#/i18n';
import { Panel } from '#/ui/page';
import { Failed, Loading } from '#/ui/states';
import { tell, tellRefused } from '#/ui/tell';
import { Time } from '#/ui/time';
import classes from './page.module.css';
import { settingsWords } from './words';

/** The browsers in which one is signed in; any of them, or all others, can be signed out from here. */
export function Sessions() {
  const say = useWords(settingsWords);
  const queries = useQueryClient();
  const sessions = useQuery({
    queryKey: ['me', 'sessions'],
    queryFn: () => data(api.GET('/api/v1/me/sessions')),
  });
  const items = sessions.data?.items ?? [];

  async function end(session: string) {
    try {
      await api.DELETE('/api/v1/me/sessions/{session}', { params: { path: { session } } });
      tell(say(session === 'others' ? 'others_ended' : 'session_ended'));
    } catch (error) {
      tellRefused(error);
    }
    await queries.invalidateQueries({ queryKey: ['me', 'sessions'] });
  }

  return (
    <Panel
      title={say('sessions')}
      actions={
        items.length > 1 && (
          <Button variant="default" onClick={() => void end('others')}>
            {say('end_others')}
          </Button>
        )
      }
    >
      {sessions.isPending ? (
        <Loading compact />
      ) : sessions.isError && !sessions.data ? (
        <Failed error={sessions.error} retry={() => void sessions.refetch()} compact />
      ) : (
        <ul className={classes.sessions}>
          {items.map((session) => (
            <li key={session.id}>
              <span>
                {say('since')} <Time at={session.created_at} milliseconds={false} />
                <br />
                <span className="muted">
                  <Ends at={session.expires_at} />
                </span>
              </span>
              {session.current ? (
                <strong>{say('this_browser')}</strong>
              ) : (
                <Button variant="default" size="compact-xs" onClick={() => void end(session.id)}>
                  {say('sign_out')}
                </Button>
              )}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

/** When a session ends: the time stands where the sentence of the language has it. */
function Ends({ at }: { at: string }) {
  const say = useWords(settingsWords);
  const [before, after] = say('ends', { when: '|' }).split('|');
  return (
    <>
      {before}
      <Time at={at} show="relative" />
      {after}
    </>
  );
}
