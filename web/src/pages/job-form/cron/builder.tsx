import { Tabs } from '@mantine/core';
import { useState } from 'react';
import { useWords } from '#/i18n';
import { Notice } from '#/ui/notice';
import { scheduleWords } from '../schedule.words';
import classes from './cron.module.css';
import { DaysEditor } from './days';
import { type Cron, type Days, type Dialect, fieldsOf, readCron, type UnitName, type Values, writeCron } from './model';
import { ValuesEditor } from './values';

interface BuilderProps {
  expression: string;
  dialect: Dialect;
  onChange: (expression: string) => void;
  /** Which field is open. */
  field: string;
  onField: (field: string) => void;
}

const TABS: Record<Dialect, readonly (UnitName | 'days')[]> = {
  quartz: ['second', 'minute', 'hour', 'days', 'month', 'year'],
  unix: ['minute', 'hour', 'days', 'month'],
};

/** A field of its own for each unit. The text is the truth: what stands here is read from it and written into it. */
export function CronBuilder({ expression, dialect, onChange, field, onField }: BuilderProps) {
  const say = useWords(scheduleWords);
  // A unit stays in the way it was chosen: `5` typed as text is no list of values while one types.
  const [asText, setAsText] = useState<string>();
  const read = readCron(expression, dialect);
  if (!read) return <Notice>{say('builder_cannot')}</Notice>;
  const parts = expression.trim().split(/\s+/);
  const written = (name: string) => parts[fieldsOf[dialect].indexOf(name)] ?? '*';
  const dates = { dates: written('dates'), weekdays: written('weekdays') };
  const open = field === 'dates' || field === 'weekdays' ? 'days' : field;

  const write = (part: Partial<Cron>) => onChange(writeCron({ ...read, ...part }, dialect));
  const valuesOf = (unit: UnitName): Values =>
    asText === unit ? { kind: 'text', text: written(unit) } : (read[unit] ?? { kind: 'every' });
  const days: Days = asText === 'days' ? { kind: 'text', ...dates } : read.days;

  return (
    <Tabs
      value={TABS[dialect].includes(open as UnitName) ? open : 'minute'}
      onChange={(tab) => {
        setAsText(undefined);
        onField(tab === 'days' ? 'dates' : (tab ?? 'minute'));
      }}
      keepMounted={false}
      className={classes.builder}
    >
      <Tabs.List aria-label={say('builder')}>
        {TABS[dialect].map((tab) => (
          <Tabs.Tab key={tab} value={tab} px={10} py={6}>
            <span className={classes.tab}>
              {say(`unit.${tab}`)}
              <code>{tab === 'days' ? `${dates.dates} ${dates.weekdays}` : written(tab)}</code>
            </span>
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {TABS[dialect].map((tab) => (
        <Tabs.Panel key={tab} value={tab}>
          <div className={classes.panel}>
            {tab === 'days' ? (
              <DaysEditor
                days={days}
                dialect={dialect}
                written={dates}
                onChange={(days) => {
                  setAsText(days.kind === 'text' ? 'days' : undefined);
                  write({ days });
                }}
              />
            ) : (
              <ValuesEditor
                unit={tab}
                values={valuesOf(tab)}
                dialect={dialect}
                onChange={(values) => {
                  setAsText(values.kind === 'text' ? tab : undefined);
                  write({ [tab]: values });
                }}
              />
            )}
          </div>
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}
