import { useMantineColorScheme } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { Spotlight } from '@mantine/spotlight';
import { IconBellRinging, IconBook2, IconHash, IconLanguage, IconMoon, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, baseUrl, data } from '#/api/client';
import { useCan } from '#/api/session';
import { chooseLanguage, currentLanguage, useWords } from '#/i18n';
import { englishSentence } from '#/lib/sentence';
import { navigation } from './navigation';
import { appWords } from './words';

/** Run ids as the API writes them. */
const RUN_ID = /^[0-9a-z]{14,32}$/;

/** Jobs found by name or description, pages, commands, and runs by their id. */
export function Palette() {
  const say = useWords(appWords);
  const can = useCan();
  const navigate = useNavigate();
  const { setColorScheme } = useMantineColorScheme();
  const [query, setQuery] = useState('');
  const text = query.trim();
  const [asked] = useDebouncedValue(text, 150);
  const { data: jobs } = useQuery({
    queryKey: ['jobs', 'palette', asked],
    queryFn: () => data(api.GET('/api/v1/jobs', { params: { query: { text: asked, limit: 8 } } })),
    enabled: asked !== '',
  });
  const matches = (label: string) => label.toLowerCase().includes(text.toLowerCase());
  const pages = navigation.flat().filter((entry) => (entry.shown?.(can) ?? true) && matches(say(entry.word)));
  const commands = [
    {
      id: 'theme',
      label: say('keys.theme'),
      icon: <IconMoon size={16} />,
      run: () => setColorScheme(document.documentElement.dataset.mantineColorScheme === 'dark' ? 'light' : 'dark'),
    },
    {
      id: 'language',
      label: currentLanguage() === 'en' ? '中文' : 'English',
      icon: <IconLanguage size={16} />,
      run: () => chooseLanguage(currentLanguage() === 'en' ? 'zh' : 'en'),
    },
    {
      id: 'docs',
      label: say('api'),
      icon: <IconBook2 size={16} />,
      run: () => window.open(`${baseUrl()}/docs`, '_blank'),
    },
  ].filter((command) => matches(command.label));
  // While one types, the answer is one to fewer letters: what no longer fits must not be what Enter opens.
  const found =
    text === '' ? [] : (jobs?.items ?? []).filter((job) => [job.name, job.handler].some((name) => matches(name)));
  const run = RUN_ID.test(text) ? text : undefined;
  return (
    <Spotlight.Root query={query} onQueryChange={setQuery} shortcut={null} scrollable maxHeight={420} radius="lg">
      <Spotlight.Search
        placeholder={say('palette_hint')}
        aria-label={say('palette')}
        onKeyDown={(event) => {
          // What was found comes after the query was typed and is not selected by itself: Enter takes the first of it.
          if (event.key !== 'Enter' || event.nativeEvent.isComposing) return;
          if (!document.querySelector('[data-action][data-selected]')) {
            document.querySelector<HTMLElement>('[data-action]')?.click();
          }
        }}
        leftSection={<IconSearch size={17} />}
      />
      <Spotlight.ActionsList>
        {run && (
          <Spotlight.ActionsGroup label={say('palette.runs')}>
            <Spotlight.Action
              label={say('open_run', { id: run })}
              leftSection={<IconHash size={16} />}
              onClick={() => void navigate({ to: '/runs/$run', params: { run } })}
            />
          </Spotlight.ActionsGroup>
        )}
        {found.length > 0 && (
          <Spotlight.ActionsGroup label={say('palette.jobs')}>
            {found.map((job) => (
              <Spotlight.Action
                key={job.id}
                label={job.name}
                description={`${job.group} · ${englishSentence(job.schedule_sentence)}`}
                leftSection={<IconBellRinging size={16} />}
                onClick={() => void navigate({ to: '/jobs/$job', params: { job: String(job.id) } })}
              />
            ))}
          </Spotlight.ActionsGroup>
        )}
        {pages.length > 0 && (
          <Spotlight.ActionsGroup label={say('palette.pages')}>
            {pages.map((entry) => (
              <Spotlight.Action
                key={entry.to}
                label={say(entry.word)}
                leftSection={<entry.icon size={16} />}
                onClick={() => void navigate({ to: entry.to })}
              />
            ))}
          </Spotlight.ActionsGroup>
        )}
        {commands.length > 0 && (
          <Spotlight.ActionsGroup label={say('palette.commands')}>
            {commands.map((command) => (
              <Spotlight.Action
                key={command.id}
                label={command.label}
                leftSection={command.icon}
                onClick={command.run}
              />
            ))}
          </Spotlight.ActionsGroup>
        )}
        {!run && found.length + pages.length + commands.length === 0 && (
          <Spotlight.Empty>{say('palette_nothing')}</Spotlight.Empty>
        )}
      </Spotlight.ActionsList>
    </Spotlight.Root>
  );
}
