import {
  ActionIcon,
  Drawer,
  Kbd,
  Menu,
  Tooltip,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { spotlight } from '@mantine/spotlight';
import {
  IconBook2,
  IconCheck,
  IconKeyboard,
  IconLanguage,
  IconLogout,
  IconMenu2,
  IconMoon,
  IconSearch,
  IconSun,
} from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useRouterState } from '@tanstack/react-router';
import { useCallback, useEffect, useMemo } from 'react';
import { api, baseUrl, whenSignedOut } from '#/api/client';
import { live, useLiveState } from '#/api/live';
import { sessionQuery, useCan } from '#/api/session';
import { chooseLanguage, currentLanguage, type Language, languages, useWords } from '#/i18n';
import { chooseZone, useZoneChoice } from '#/lib/preferences';
import { useShortcuts } from '#/lib/shortcuts';
import { BellMark } from '#/ui/bell';
import { useTouchedTimes } from '#/ui/touched-times';
import { Help } from './help';
import { navigation } from './navigation';
import { Palette } from './palette';
import classes from './shell.module.css';
import { appWords } from './words';

/** What surrounds every page: navigation, palette, the live connection, who is signed in. */
export function Shell() {
  const say = useWords(appWords);
  const navigate = useNavigate();
  const queries = useQueryClient();
  const [menu, { open: openMenu, close: closeMenu }] = useDisclosure(false);
  const [help, { open: openHelp, close: closeHelp }] = useDisclosure(false);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const { setColorScheme } = useMantineColorScheme();
  const colorScheme = useComputedColorScheme();

  const leave = useCallback(() => {
    if (queries.getQueryData(sessionQuery.queryKey) === null) return;
    queries.setQueryData(sessionQuery.queryKey, null);
    const next = window.location.href.slice(baseUrl().length);
    void navigate({ to: '/sign-in', search: { next, error: 'signed_out' } });
  }, [navigate, queries]);

  useEffect(() => whenSignedOut(leave), [leave]);
  useEffect(
    () =>
      live.connect(queries, () => {
        // The stream says no more than that it was refused: the session tells whether one is still signed in.
        void queries.fetchQuery({ ...sessionQuery, staleTime: 0, retry: false }).then(
          (session) => session === null && leave(),
          () => {},
        );
      }),
    [queries, leave],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: the path is what it depends on
  useEffect(closeMenu, [path, closeMenu]);

  const shortcuts = useMemo(
    () => [
      { keys: 'mod+k', run: spotlight.open },
      { keys: '?', run: openHelp },
      { keys: '/', run: () => document.querySelector<HTMLInputElement>('[data-filter]')?.focus() },
      {
        keys: 't',
        run: () => setColorScheme(document.documentElement.dataset.mantineColorScheme === 'dark' ? 'light' : 'dark'),
      },
      ...navigation.flat().map((entry) => ({ keys: `g ${entry.key}`, run: () => void navigate({ to: entry.to }) })),
    ],
    [navigate, openHelp, setColorScheme],
  );
  useShortcuts(shortcuts);
  useTouchedTimes();

  return (
    <div className={classes.shell}>
      {/* biome-ignore lint/a11y/useValidAnchor: a link to a place of this page, as people know them */}
      <a
        href="#content"
        className={classes.skip}
        onClick={(event) => {
          // With a `<base>` the address alone would lead to another page.
          event.preventDefault();
          document.getElementById('content')?.focus();
        }}
      >
        {say('skip')}
      </a>
      <aside className={classes.side}>
        <Navigation path={path} />
      </aside>
      <Drawer.Root opened={menu} onClose={closeMenu} size={260}>
        <Drawer.Overlay />
        <Drawer.Content className={classes.drawer} aria-label={say('nav.label')}>
          <Drawer.Body p={0}>
            <Navigation path={path} />
          </Drawer.Body>
        </Drawer.Content>
      </Drawer.Root>
      <div className={classes.column}>
        <div className={classes.bar}>
          <ActionIcon className={classes.menu} onClick={openMenu} aria-label={say('nav.open')} size="lg">
            <IconMenu2 size={18} />
          </ActionIcon>
          <UnstyledButton
            className={classes.search}
            onClick={spotlight.open}
            aria-label={say('search')}
            aria-keyshortcuts="Control+K"
          >
            <IconSearch size={14} />
            <span className="ellipsis">{say('search')}</span>
            <Kbd size="xs" aria-hidden>
              Ctrl K
            </Kbd>
          </UnstyledButton>
          <div className={classes.right}>
            <LiveMark />
            <LanguageMenu />
            <Tooltip label={say('keys.theme')}>
              <ActionIcon
                aria-label={say('keys.theme')}
                onClick={() =>
                  setColorScheme(document.documentElement.dataset.mantineColorScheme === 'dark' ? 'light' : 'dark')
                }
              >
                {colorScheme === 'dark' ? <IconMoon size={17} /> : <IconSun size={17} />}
              </ActionIcon>
            </Tooltip>
            <AccountMenu onHelp={openHelp} onLeave={leave} />
          </div>
        </div>
        <main id="content" className={classes.content} tabIndex={-1}>
          <Outlet />
        </main>
      </div>
      <Palette />
      <Help opened={help} onClose={closeHelp} />
    </div>
  );
}

function Navigation({ path }: { path: string }) {
  const say = useWords(appWords);
  const can = useCan();
  return (
    <div className={classes.navigation}>
      <Link to="/" className={classes.brand}>
        <BellMark size={26} />
        <span>Carillon</span>
      </Link>
      <nav aria-label={say('nav.label')}>
        {navigation.map((part) => {
          const entries = part.filter((entry) => entry.shown?.(can) ?? true);
          if (entries.length === 0) return null;
          return (
            <ul key={entries[0]?.to} className={classes.part}>
              {entries.map((entry) => {
                const here = entry.to === '/' ? path === '/' : path === entry.to || path.startsWith(`${entry.to}/`);
                return (
                  <li key={entry.to}>
                    <Link to={entry.to} className={classes.entry} aria-current={here ? 'page' : undefined}>
                      <entry.icon size={17} stroke={1.7} />
                      {say(entry.word)}
                    </Link>
                  </li>
                );
              })}
            </ul>
          );
        })}
      </nav>
    </div>
  );
}

function LiveMark() {
  const say = useWords(appWords);
  const state = useLiveState();
  return (
    <Tooltip label={state === 'live' ? say('live.live_hint') : say('live.lost_hint')} multiline w={220}>
      <span className={classes.live} data-state={state} role="status">
        <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
          {state === 'live' ? (
            <circle cx="5" cy="5" r="4" fill="currentColor" />
          ) : state === 'connecting' ? (
            <circle cx="5" cy="5" r="3.500" fill="none" stroke="currentColor" strokeWidth="1.800" />
          ) : (
            <path d="M1 1l8 8M9 1L1 9" stroke="currentColor" strokeWidth="2" />
          )}
        </svg>
        <span className={classes.liveWord}>{say(`live.${state}`)}</span>
      </span>
    </Tooltip>
  );
}

function LanguageMenu() {
  const say = useWords(appWords);
  const language = currentLanguage();
  return (
    <Menu>
      <Menu.Target>
        <Tooltip label={say('language')}>
          <ActionIcon aria-label={say('language')}>
            <IconLanguage size={17} />
          </ActionIcon>
        </Tooltip>
      </Menu.Target>
      <Menu.Dropdown>
        {(Object.keys(languages) as Language[]).map((choice) => (
          <Menu.Item
            key={choice}
            lang={choice}
            onClick={() => chooseLanguage(choice)}
            rightSection={choice === language ? <IconCheck size={14} /> : null}
          >
            {languages[choice]}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

function AccountMenu({ onHelp, onLeave }: { onHelp: () => void; onLeave: () => void }) {
  const say = useWords(appWords);
  const { data: session } = useQuery(sessionQuery);
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const zone = useZoneChoice();
  const name = session?.user.display_name || session?.user.name || '';
  const mark = (on: boolean) => (on ? <IconCheck size={14} /> : null);
  async function signOut() {
    await api.DELETE('/api/v1/sessions/current').catch(() => {});
    onLeave();
  }
  return (
    <Menu width={240}>
      <Menu.Target>
        <UnstyledButton className={classes.account} aria-label={say('account', { name })}>
          {name.slice(0, 1).toUpperCase()}
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{name}</Menu.Label>
        <Menu.Divider />
        <Menu.Label>{say('zone')}</Menu.Label>
        <Menu.Item onClick={() => chooseZone('local')} rightSection={mark(zone === 'local')}>
          {say('zone.local', { zone: Intl.DateTimeFormat().resolvedOptions().timeZone })}
        </Menu.Item>
        <Menu.Item onClick={() => chooseZone('utc')} rightSection={mark(zone === 'utc')}>
          {say('zone.utc')}
        </Menu.Item>
        <Menu.Divider />
        <Menu.Label>{say('theme')}</Menu.Label>
        {(['auto', 'light', 'dark'] as const).map((choice) => (
          <Menu.Item key={choice} onClick={() => setColorScheme(choice)} rightSection={mark(colorScheme === choice)}>
            {say(`theme.${choice}`)}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item
          className="with-keyboard"
          leftSection={<IconKeyboard size={15} />}
          onClick={onHelp}
          rightSection={<Kbd size="xs">?</Kbd>}
        >
          {say('help')}
        </Menu.Item>
        <Menu.Item leftSection={<IconBook2 size={15} />} component="a" href={`${baseUrl()}/docs`} target="_blank">
          {say('api')}
        </Menu.Item>
        <Menu.Item leftSection={<IconLogout size={15} />} onClick={() => void signOut()}>
          {say('sign_out')}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
