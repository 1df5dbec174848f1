import { SegmentedControl, useMantineColorScheme } from '@mantine/core';
import { chooseLanguage, currentLanguage, type Language, languages, useWords } from '#/i18n';
import { useNow } from '#/lib/now';
import { chooseZone, useZoneChoice, type ZoneChoice } from '#/lib/preferences';
import { Facts, Panel } from '#/ui/page';
import { Time } from '#/ui/time';
import { settingsWords } from './words';

/** What this browser remembers. */
export function Display() {
  const say = useWords(settingsWords);
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const zone = useZoneChoice();
  const now = useNow();
  return (
    <Panel title={say('display')} actions={<span className="muted">{say('display_hint')}</span>}>
      <Facts
        facts={[
          [
            say('language'),
            <SegmentedControl
              key="language"
              size="xs"
              aria-label={say('language')}
              data={(Object.keys(languages) as Language[]).map((language) => ({
                value: language,
                label: languages[language],
              }))}
              value={currentLanguage()}
              onChange={(language) => chooseLanguage(language as Language)}
            />,
          ],
          [
            say('theme'),
            <SegmentedControl
              key="theme"
              size="xs"
              aria-label={say('theme')}
              data={(['auto', 'light', 'dark'] as const).map((choice) => ({
                value: choice,
                label: say(`theme.${choice}`),
              }))}
              value={colorScheme}
              onChange={(choice) => setColorScheme(choice as typeof colorScheme)}
            />,
          ],
          [
            say('zone'),
            <SegmentedControl
              key="zone"
              size="xs"
              aria-label={say('zone')}
              data={(['local', 'utc'] as const).map((choice) => ({ value: choice, label: say(`zone.${choice}`) }))}
              value={zone}
              onChange={(choice) => chooseZone(choice as ZoneChoice)}
            />,
          ],
          [say('now'), <Time key="now" at={new Date(now).toISOString()} milliseconds={false} />],
        ]}
      />
    </Panel>
  );
}
