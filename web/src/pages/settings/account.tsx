import { Button } from '@mantine/core';
import { IconLogout } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { api } from '#/api/client';
import { groupsQuery, itemsOf } from '#/api/queries';
import { sessionQuery } from '#/api/session';
import { useWords } from '#/i18n';
import { Facts, Panel } from '#/ui/page';
import { Time } from '#/ui/time';
import classes from './page.module.css';
import { settingsWords } from './words';

/** Who is signed in, with which rights and for how long. */
export function Account() {
  const say = useWords(settingsWords);
  const queries = useQueryClient();
  const navigate = useNavigate();
  const { data: session } = useQuery(sessionQuery);
  const groups = useInfiniteQuery(groupsQuery());
  if (!session) return null;
  const names = new Map(itemsOf(groups.data).map((group) => [group.id, group.name]));

  async function signOut() {
    // Whether or not the console heard it, this browser is done.
    await api.DELETE('/api/v1/sessions/current').catch(() => {});
    queries.setQueryData(sessionQuery.queryKey, null);
    void navigate({ to: '/sign-in', search: { error: 'signed_out' } });
  }

  return (
    <Panel
      title={say('account')}
      actions={
        <Button variant="default" leftSection={<IconLogout size={14} />} onClick={() => void signOut()}>
          {say('sign_out')}
        </Button>
      }
    >
      <Facts
        facts={[
          [say('display_name'), session.user.display_name],
          [
            say('name'),
            <span key="name" className="mono">
              {session.user.name}
            </span>,
          ],
          [
            say('rights'),
            session.administrator ? (
              say('administrator')
            ) : session.grants.length === 0 ? (
              <span className="muted">{say('no_roles')}</span>
            ) : (
              <ul key="rights" className={classes.rights}>
                {session.grants.map((grant) => (
                  <li key={grant.group}>
                    <Link to="/groups/$group" params={{ group: grant.group }} className="plain">
                      {say('role_on', {
                        role: say(`role.${grant.role}`),
                        group: names.get(grant.group) ?? grant.group,
                      })}
                    </Link>
                  </li>
                ))}
              </ul>
            ),
          ],
          [
            say('session'),
            <span key="session">
              {say('session_until')} <Time at={session.expiresAt} milliseconds={false} />
            </span>,
          ],
        ]}
      />
    </Panel>
  );
}
