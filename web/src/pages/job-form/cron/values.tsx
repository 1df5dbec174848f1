import { NumberInput } from '@mantine/core';
import { type KeyboardEvent, useRef, useState } from 'react';
import { locale, useWords } from '#/i18n';
import { scheduleWords } from '../schedule.words';
import { Tiles } from '../tiles';
import classes from './cron.module.css';
import { bounds, type Dialect, readValues, type UnitName, type Values, writeValues } from './model';

/** Toggles for the values of a unit. */
export function ValueGrid({
  label,
  values,
  onChange,
  all,
  name = String,
  size = 'small',
}: {
  label: string;
  values: readonly number[];
  onChange: (values: number[]) => void;
  all: readonly number[];
  name?: (value: number) => string;
  size?: 'small' | 'word';
}) {
  const grid = useRef<HTMLFieldSetElement>(null);
  const [at, setAt] = useState<number>();
  // One stop for the Tab key: sixty minutes are no sixty stops. The arrow keys go from value to value.
  const stop = at !== undefined && all.includes(at) ? at : (all.find((value) => values.includes(value)) ?? all[0]);
  function onKey(event: KeyboardEvent) {
    if (!grid.current || stop === undefined) return;
    const columns = getComputedStyle(grid.current).gridTemplateColumns.split(' ').length;
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const here = all.indexOf(stop);
    const next =
      event.key === 'Home' ? 0 : event.key === 'End' ? all.length - 1 : here + (steps[event.key] ?? Number.NaN);
    const box = grid.current.querySelectorAll('input')[next];
    if (!box) return;
    event.preventDefault();
    box.focus();
  }
  return (
    <fieldset ref={grid} className={classes.values} data-size={size} onKeyDown={onKey}>
      <legend className="sr-only">{label}</legend>
      {all.map((value) => (
        <label key={value} className={classes.value}>
          <input
            type="checkbox"
            tabIndex={value === stop ? 0 : -1}
            onFocus={() => setAt(value)}
            checked={values.includes(value)}
            onChange={(event) =>
              onChange(
                event.currentTarget.checked
                  ? [...values, value].sort((a, b) => a - b)
                  : values.filter((chosen) => chosen !== value),
              )
            }
          />
          {name(value)}
        </label>
      ))}
    </fieldset>
  );
}

/** A number in a sentence. */
export function SmallNumber({
  label,
  value,
  onChange,
  min,
  max,
}: {
  label: string;
  value: number;
  onChange: (value: number) => void;
  min: number;
  max: number;
}) {
  return (
    <NumberInput
      size="xs"
      w={72}
      aria-label={label}
      value={value}
      onChange={(typed) => {
        const number = Math.round(Number(typed));
        if (typed !== '' && number >= min && number <= max) onChange(number);
      }}
      min={min}
      max={max}
      allowDecimal={false}
      clampBehavior="strict"
    />
  );
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

export function monthName(month: number): string {
  return new Intl.DateTimeFormat(locale(), { month: 'short', timeZone: 'UTC' }).format(Date.UTC(2026, month - 1, 15));
}

/** How many years ahead can be picked; others are typed. */
const YEARS_SHOWN = 12;

/** The fields for one unit of an expression that is counted. */
export function ValuesEditor({
  unit,
  values,
  onChange,
  dialect,
}: {
  unit: UnitName;
  values: Values;
  onChange: (values: Values) => void;
  dialect: Dialect;
}) {
  const say = useWords(scheduleWords);
  const [least, most] = bounds[unit];
  const unitName = say(`unit.${unit}`);
  const thisYear = new Date().getFullYear();
  const shown = unit === 'year' ? range(thisYear, thisYear + YEARS_SHOWN - 1) : range(least, most);
  const first = unit === 'year' ? thisYear : least;

  function choose(kind: Values['kind']) {
    if (kind === values.kind) return;
    if (kind === 'every') onChange({ kind });
    if (kind === 'step') onChange({ kind, from: first, step: unit === 'minute' || unit === 'second' ? 5 : 2 });
    if (kind === 'range') onChange({ kind, from: unit === 'hour' ? 9 : first, to: unit === 'hour' ? 17 : most });
    if (kind === 'chosen') onChange({ kind, values: [first] });
    if (kind === 'text') onChange({ kind, text: writeValues(values, unit, dialect) });
  }

  const kinds = ['every', 'step', 'range', 'chosen', 'text'] as const;
  return (
    <>
      <Tiles
        id={`cron-${unit}`}
        label={unitName}
        labelHidden
        tiles={kinds.map((kind) => ({ value: kind, label: say(`values.${kind}`) }))}
        value={values.kind}
        onChange={choose}
      />
      {values.kind === 'step' && (
        <div className={classes.sentence}>
          {say('step_every')}
          <SmallNumber
            label={say('step')}
            value={values.step}
            onChange={(step) => onChange({ ...values, step })}
            min={1}
            max={unit === 'year' ? 100 : most}
          />
          {say(`step_from.${unit}`, { count: values.step })}
          <SmallNumber
            label={say('from')}
            value={values.from}
            onChange={(from) => onChange({ ...values, from })}
            min={least}
            max={most}
          />
          {say(`step_end.${unit}`)}
        </div>
      )}
      {values.kind === 'range' && (
        <div className={classes.sentence}>
          {say('range_from')}
          <SmallNumber
            label={say('from')}
            value={values.from}
            onChange={(from) => onChange({ ...values, from })}
            min={least}
            max={most}
          />
          {say('range_to')}
          <SmallNumber
            label={say('to')}
            value={values.to}
            onChange={(to) => onChange({ ...values, to })}
            min={least}
            max={most}
          />
          {values.from > values.to && <span className="muted">{say('range_wraps')}</span>}
        </div>
      )}
      {values.kind === 'chosen' && (
        <ValueGrid
          label={`${unitName}: ${say('values.chosen')}`}
          all={[...new Set([...shown, ...values.values])].sort((a, b) => a - b)}
          values={values.values}
          onChange={(chosen) => chosen.length > 0 && onChange({ kind: 'chosen', values: chosen })}
          {...(unit === 'month' && { name: monthName, size: 'word' as const })}
        />
      )}
      {values.kind === 'text' && (
        <TextField
          label={unitName}
          value={values.text}
          onChange={(text) => {
            const read = readValues(text, unit);
            onChange(read.kind === 'text' ? read : { kind: 'text', text });
          }}
        />
      )}
    </>
  );
}

/** A field of the expression as it is written: what the builder has no fields for. */
export function TextField({
  label,
  value,
  onChange,
}: {
  label: string;
  value: string;
  onChange: (text: string) => void;
}) {
  return (
    <input
      className="mono"
      aria-label={label}
      value={value}
      // A blank would make two fields of one.
      onChange={(event) => onChange(event.currentTarget.value.replace(/\s+/g, '') || '*')}
      style={{ width: 220, height: 30, padding: '0 8px' }}
      spellCheck={false}
    />
  );
}
