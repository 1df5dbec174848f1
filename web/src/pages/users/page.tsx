import { Tabs } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { ProblemError } from '#/api/problem';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { Page } from '#/ui/page';
import { Failed } from '#/ui/states';
import { People } from './people';
import { Permissions } from './permissions';
import { usersWords } from './words';

const route = getRouteApi('/signed-in/users');

/** People for administrators; permissions for them and for owners of task groups. */
export function UsersPage() {
  const say = useWords(usersWords);
  const can = useCan();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  if (!can.anywhere('owner')) return <Failed error={new ProblemError(403, { detail: say('title') })} />;
  const tabs = can.administrator ? (['people', 'permissions'] as const) : (['permissions'] as const);
  const tab = tabs.find((tab) => tab === search.tab) ?? tabs[0];
  return (
    <Page title={say('title')}>
      <Tabs
        value={tab}
        onChange={(tab) => void navigate({ search: { tab: tab === tabs[0] ? undefined : (tab ?? undefined) } })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          {tabs.map((tab) => (
            <Tabs.Tab key={tab} value={tab}>
              {say(`tab.${tab}`)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {can.administrator && (
          <Tabs.Panel value="people">
            <People />
          </Tabs.Panel>
        )}
        <Tabs.Panel value="permissions">
          <Permissions />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
