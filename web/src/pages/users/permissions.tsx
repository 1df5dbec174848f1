import { Select } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { groupsQuery, itemsOf } from '#/api/queries';
import { roles, useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { Panel } from '#/ui/page';
import { Empty, Failed, Loading } from '#/ui/states';
import { Grants } from './grants';
import classes from './page.module.css';
import { usersWords } from './words';

const route = getRouteApi('/signed-in/users');

/** Who may do what on a task group. */
export function Permissions() {
  const say = useWords(usersWords);
  const can = useCan();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const groups = useInfiniteQuery(groupsQuery());
  if (groups.isPending) return <Loading />;
  if (groups.isError && !groups.data) return <Failed error={groups.error} retry={() => void groups.refetch()} />;
  const mine = itemsOf(groups.data).filter((group) => can('owner', group.id));
  const group = search.group ?? mine[0]?.id;
  return (
    <div className={classes.columns}>
      <Panel
        title={say('tab.permissions')}
        flush
        actions={
          <Select
            data-filter
            aria-label={say('group')}
            data={mine.map((group) => ({ value: group.id, label: group.name }))}
            value={group ?? null}
            onChange={(group) =>
              void navigate({
                search: (before) => ({ ...before, tab: 'permissions', group: group ?? undefined }),
                replace: true,
              })
            }
            searchable
            allowDeselect={false}
            w={220}
          />
        }
      >
        {group ? <Grants key={group} of={{ group }} /> : <Empty title={say('choose_group')} compact />}
      </Panel>
      <Panel title={say('roles')}>
        <dl className={classes.roles}>
          {roles.map((role) => (
            <div key={role}>
              <dt>{say(`role.${role}`)}</dt>
              <dd>{say(`may.${role}`)}</dd>
            </div>
          ))}
        </dl>
        <p className="muted" style={{ margin: '12px 0 0', fontSize: 13 }}>
          {say('administrators_hint')}
        </p>
      </Panel>
    </div>
  );
}
