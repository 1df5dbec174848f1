import { type ComboboxItem, type OptionsFilter, Select } from '@mantine/core';
import { useMemo, useState } from 'react';
import { locale, useWords } from '#/i18n';
import { allZones, offsetText } from '#/lib/zone';
import classes from './page.module.css';
import { scheduleWords } from './schedule.words';

interface ZoneProps {
  id: string;
  value: string;
  onChange: (zone: string) => void;
  viewer: string;
  error?: string | undefined;
}

interface ZoneItem extends ComboboxItem {
  /** What may be typed to find it: city, country's name of its time, offset. */
  words: string;
  offset: string;
  long: string;
}

/** Few enough to be drawn at once; typing finds the rest. */
const MOST_SHOWN = 60;

/** A time zone, found by city, by the name of its time in the language of the pages, or by its offset. */
export function ZonePicker({ id, value, onChange, viewer, error }: ZoneProps) {
  const say = useWords(scheduleWords);
  const [opened, setOpened] = useState(false);
  const language = locale();
  // The names cost a tenth of a second: only who opens the list pays.
  const described = useMemo(() => (opened ? namesOfZones(language) : undefined), [opened, language]);
  const names = useMemo(() => [...new Set([value, viewer, 'UTC', ...allZones()])].filter(Boolean), [value, viewer]);
  const items: ZoneItem[] = names.map((name) => {
    const found = described?.get(name);
    return {
      value: name,
      label: name,
      words: found?.words ?? '',
      offset: found?.offset ?? '',
      long: found?.long ?? '',
    };
  });
  const filter: OptionsFilter = ({ options, search, limit }) => {
    const wanted = search.trim().toLowerCase().split(/\s+/);
    return (options as ZoneItem[])
      .filter((item) => search === value || wanted.every((word) => item.words.includes(word)))
      .slice(0, limit);
  };
  return (
    <Select
      id={id}
      label={say('zone')}
      data={items}
      value={value}
      onChange={(zone) => zone && onChange(zone)}
      onDropdownOpen={() => setOpened(true)}
      searchable
      selectFirstOptionOnChange
      limit={MOST_SHOWN}
      filter={filter}
      // The list itself scrolls, as readers of the page expect of a list box.
      withScrollArea={false}
      classNames={{ options: classes.options }}
      nothingFoundMessage={say('zone_none')}
      allowDeselect={false}
      error={error}
      renderOption={({ option }) => {
        const item = option as ZoneItem;
        return (
          <span className={classes.zone}>
            <span>
              {item.value}
              {item.value === viewer && <span className="muted"> · {say('zone_yours')}</span>}
              <span className={classes.zoneLong}>{item.long}</span>
            </span>
            <span className="num muted">{item.offset}</span>
          </span>
        );
      }}
    />
  );
}

function namesOfZones(language: string): Map<string, { words: string; offset: string; long: string }> {
  const now = new Date();
  return new Map(
    ['UTC', ...allZones()].map((zone) => {
      const part = (locale: string) =>
        new Intl.DateTimeFormat(locale, { timeZone: zone, timeZoneName: 'longGeneric' })
          .formatToParts(now)
          .find((part) => part.type === 'timeZoneName')?.value ?? '';
      const long = part(language);
      const offset = offsetText(now, zone);
      const words = `${zone} ${zone.replace(/[_/]/g, ' ')} ${long} ${offset.replace('−', '-')} utc${offset.replace('−', '-')}`;
      return [zone, { words: words.toLowerCase(), offset, long }] as const;
    }),
  );
}
