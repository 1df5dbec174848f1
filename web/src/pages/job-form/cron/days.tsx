import { Select } from '@mantine/core';
import { locale, useWords } from '#/i18n';
import { scheduleWords } from '../schedule.words';
import { Tiles } from '../tiles';
import classes from './cron.module.css';
import type { Days, Dialect } from './model';
import { range, SmallNumber, TextField, ValueGrid } from './values';

/** 0 is Sunday. */
export function weekdayName(weekday: number, style: 'short' | 'long' = 'short'): string {
  // The second of November 2026 is a Monday.
  return new Intl.DateTimeFormat(locale(), { weekday: style, timeZone: 'UTC' }).format(Date.UTC(2026, 10, 1 + weekday));
}

/** Weeks begin on Monday, as most people's do. */
const WEEK = [1, 2, 3, 4, 5, 6, 0];

const KINDS: Record<Dialect, readonly Days['kind'][]> = {
  quartz: ['every', 'weekdays', 'dates', 'step', 'last', 'last_workday', 'workday', 'nth', 'last_weekday', 'text'],
  unix: ['every', 'weekdays', 'dates', 'step', 'text'],
};

/** On which days: one question, though an expression has two fields for it. */
export function DaysEditor({
  days,
  onChange,
  dialect,
  written,
}: {
  days: Days;
  onChange: (days: Days) => void;
  dialect: Dialect;
  /** Both fields as they stand in the expression. */
  written: { dates: string; weekdays: string };
}) {
  const say = useWords(scheduleWords);
  function choose(kind: Days['kind']) {
    if (kind === days.kind) return;
    const starts: Record<Days['kind'], Days> = {
      every: { kind: 'every' },
      weekdays: { kind: 'weekdays', values: [1, 2, 3, 4, 5] },
      dates: { kind: 'dates', values: [1] },
      step: { kind: 'step', from: 1, step: 2 },
      last: { kind: 'last', before: 0 },
      last_workday: { kind: 'last_workday' },
      workday: { kind: 'workday', date: 15 },
      nth: { kind: 'nth', weekday: 1, nth: 1 },
      last_weekday: { kind: 'last_weekday', weekday: 5 },
      text: { kind: 'text', ...written },
    };
    onChange(starts[kind]);
  }
  const weekday = (value: number, change: (weekday: number) => void) => (
    <Select
      aria-label={say('weekday')}
      w={130}
      data={WEEK.map((day) => ({ value: String(day), label: weekdayName(day, 'long') }))}
      value={String(value)}
      onChange={(day) => day !== null && change(Number(day))}
      allowDeselect={false}
    />
  );

  return (
    <>
      <Tiles
        id="cron-days"
        label={say('unit.dates')}
        labelHidden
        tiles={KINDS[dialect].map((kind) => ({ value: kind, label: say(`days.${kind}`) }))}
        value={days.kind}
        onChange={choose}
      />
      {days.kind === 'weekdays' && (
        <ValueGrid
          label={say('days.weekdays')}
          all={WEEK}
          name={(day) => weekdayName(day)}
          size="word"
          values={days.values}
          onChange={(values) => values.length > 0 && onChange({ kind: 'weekdays', values })}
        />
      )}
      {days.kind === 'dates' && (
        <ValueGrid
          label={say('days.dates')}
          all={range(1, 31)}
          values={days.values}
          onChange={(values) => values.length > 0 && onChange({ kind: 'dates', values })}
        />
      )}
      {days.kind === 'step' && (
        <div className={classes.sentence}>
          {say('step_every')}
          <SmallNumber
            label={say('step')}
            value={days.step}
            onChange={(step) => onChange({ ...days, step })}
            min={1}
            max={31}
          />
          {say('days_from', { count: days.step })}
          <SmallNumber
            label={say('from')}
            value={days.from}
            onChange={(from) => onChange({ ...days, from })}
            min={1}
            max={31}
          />
          {say('days_end')}
        </div>
      )}
      {days.kind === 'last' && (
        <div className={classes.sentence}>
          <SmallNumber
            label={say('last_before', { count: days.before })}
            value={days.before}
            onChange={(before) => onChange({ kind: 'last', before })}
            min={0}
            max={30}
          />
          {say('last_before', { count: days.before })}
        </div>
      )}
      {days.kind === 'workday' && (
        <div className={classes.sentence}>
          {say('workday_near')}
          <SmallNumber
            label={say('workday_near')}
            value={days.date}
            onChange={(date) => onChange({ kind: 'workday', date })}
            min={1}
            max={31}
          />
        </div>
      )}
      {days.kind === 'nth' && (
        <div className={classes.sentence}>
          <Select
            aria-label={say('nth_which')}
            w={100}
            data={[1, 2, 3, 4, 5].map((nth) => ({ value: String(nth), label: say(`nth.${nth as 1}`) }))}
            value={String(days.nth)}
            onChange={(nth) => nth !== null && onChange({ ...days, nth: Number(nth) })}
            allowDeselect={false}
          />
          {weekday(days.weekday, (weekday) => onChange({ ...days, weekday }))}
          {say('of_month')}
        </div>
      )}
      {days.kind === 'last_weekday' && (
        <div className={classes.sentence}>
          {say('last_such')}
          {weekday(days.weekday, (weekday) => onChange({ kind: 'last_weekday', weekday }))}
          {say('of_month')}
        </div>
      )}
      {days.kind === 'text' && (
        <div className={classes.sentence}>
          {say('unit.dates')}
          <TextField label={say('unit.dates')} value={days.dates} onChange={(dates) => onChange({ ...days, dates })} />
          {say('unit.weekdays')}
          <TextField
            label={say('unit.weekdays')}
            value={days.weekdays}
            onChange={(weekdays) => onChange({ ...days, weekdays })}
          />
        </div>
      )}
    </>
  );
}
