import { Select, Switch, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useWords } from '#/i18n';
import { useZone } from '#/lib/preferences';
import { Notice } from '#/ui/notice';
import { Panel } from '#/ui/page';
import { CronBuilder } from './cron/builder';
import classes from './cron/cron.module.css';
import { ExpressionInput } from './cron/expression';
import { type Dialect, translate } from './cron/model';
import { type ScheduleType, scheduleOf } from './draft';
import { Fires } from './fires';
import { InstantInput } from './instant';
import form from './page.module.css';
import { usePreview } from './preview';
import { scheduleWords } from './schedule.words';
import { fieldId, useForm } from './state';
import { Tiles } from './tiles';
import { formWords } from './words';
import { ZonePicker } from './zone-picker';

const TYPES: readonly ScheduleType[] = ['cron', 'fixed_rate', 'fixed_delay', 'once', 'api'];

/** When the job fires, and what that means. */
export function ScheduleBlock() {
  const say = useWords(scheduleWords);
  const names = useWords(formWords);
  const { draft, set, faultOf } = useForm();
  const { schedule } = draft;
  const viewer = useZone();
  const wish = scheduleOf(schedule);
  const preview = usePreview(wish);
  const zone = schedule.type === 'cron' ? schedule.time_zone : viewer;
  const change = (part: Partial<typeof schedule>) => set('schedule', part);
  // What the API says while one types comes before what it said when one saved.
  const fault = (field: string) =>
    preview.faults.find((fault) => fault.field === `schedule.${field}`)?.message ?? faultOf(`schedule.${field}`);
  const elsewhere = preview.faults.filter(({ field }) => document.getElementById(fieldId(field)) === null);

  return (
    <Panel
      title={say('title')}
      actions={
        <Switch
          id={fieldId('enabled')}
          size="xs"
          label={say('enabled')}
          checked={draft.enabled}
          onChange={(event) => set('enabled', event.currentTarget.checked)}
        />
      }
    >
      <div className={form.schedule}>
        <div className={form.stack}>
          <Tiles
            id={fieldId('schedule.type')}
            label={names('field.schedule.type')}
            labelHidden
            tiles={TYPES.map((type) => ({ value: type, label: say(`type.${type}`) }))}
            value={schedule.type}
            onChange={(type) => change({ type })}
          />
          <p className={`muted ${form.small}`}>{say(`type.${schedule.type}_hint`)}</p>
          {schedule.type === 'cron' && <CronFields viewer={viewer} fault={fault} place={preview.place} />}
          {schedule.type === 'fixed_rate' && (
            <div className={form.pair}>
              <DurationInput field="every" fault={fault} />
              <InstantInput
                id={fieldId('schedule.anchor')}
                label={names('field.schedule.anchor')}
                description={say('anchor_hint')}
                value={schedule.anchor}
                onChange={(anchor) => change({ anchor })}
                zone={viewer}
                error={fault('anchor')}
              />
            </div>
          )}
          {schedule.type === 'fixed_delay' && <DurationInput field="delay" fault={fault} />}
          {schedule.type === 'once' && (
            <>
              <InstantInput
                id={fieldId('schedule.at')}
                label={names('field.schedule.at')}
                value={schedule.at}
                onChange={(at) => change({ at })}
                zone={viewer}
                error={fault('at')}
                required
              />
              {schedule.at !== '' && Date.parse(schedule.at) < Date.now() && (
                <Notice tone="orange">{say('once_past')}</Notice>
              )}
            </>
          )}
          {schedule.type !== 'api' && (
            <details className={form.more} open={Boolean(schedule.starts_at || schedule.ends_at || schedule.jitter)}>
              <summary>{say('limits')}</summary>
              <div className={form.pair}>
                <InstantInput
                  id={fieldId('schedule.starts_at')}
                  label={names('field.schedule.starts_at')}
                  value={schedule.starts_at}
                  onChange={(starts_at) => change({ starts_at })}
                  zone={zone}
                  error={fault('starts_at')}
                />
                <InstantInput
                  id={fieldId('schedule.ends_at')}
                  label={names('field.schedule.ends_at')}
                  value={schedule.ends_at}
                  onChange={(ends_at) => change({ ends_at })}
                  zone={zone}
                  error={fault('ends_at')}
                />
                <TextInput
                  id={fieldId('schedule.jitter')}
                  label={names('field.schedule.jitter')}
                  description={say('jitter_hint')}
                  value={schedule.jitter}
                  onChange={(event) => change({ jitter: event.currentTarget.value })}
                  error={fault('jitter')}
                  placeholder="30s"
                />
              </div>
            </details>
          )}
          {elsewhere.map(({ field, message }) => (
            <Notice key={field} tone="red">
              {message}
            </Notice>
          ))}
        </div>
        <div className={form.preview}>
          <h3 className={form.previewTitle}>{say('preview')}</h3>
          {!draft.enabled && <Notice>{say('paused_note')}</Notice>}
          <Fires schedule={wish} preview={preview} viewer={viewer} />
        </div>
      </div>
    </Panel>
  );
}

function DurationInput({ field, fault }: { field: 'every' | 'delay'; fault: (field: string) => string | undefined }) {
  const say = useWords(scheduleWords);
  const names = useWords(formWords);
  const { draft, set } = useForm();
  return (
    <TextInput
      id={fieldId(`schedule.${field}`)}
      label={names(`field.schedule.${field}`)}
      description={say('duration_hint')}
      value={draft.schedule[field]}
      onChange={(event) => set('schedule', { [field]: event.currentTarget.value })}
      error={fault(field)}
      required
    />
  );
}

const PRESETS = [
  ['minutes', '0 0/5 * * * ?', '*/5 * * * *'],
  ['hour', '0 0 * * * ?', '0 * * * *'],
  ['day', '0 0 9 * * ?', '0 9 * * *'],
  ['workdays', '0 0 9 ? * MON-FRI', '0 9 * * MON-FRI'],
  ['week', '0 0 9 ? * MON', '0 9 * * MON'],
  ['month', '0 0 9 1 * ?', '0 9 1 * *'],
  ['month_end', '0 0 9 L * ?', undefined],
] as const;

function CronFields({
  viewer,
  fault,
  place,
}: {
  viewer: string;
  fault: (field: string) => string | undefined;
  place: { column: number; length: number } | undefined;
}) {
  const say = useWords(scheduleWords);
  const { draft, set } = useForm();
  const { expression, dialect, time_zone } = draft.schedule;
  const [field, setField] = useState('minute');
  const change = (expression: string) => set('schedule', { expression });
  // Leading blanks are cut off before the API counts columns.
  const cut = expression.length - expression.trimStart().length;

  return (
    <>
      <div className={classes.presets} role="group" aria-label={say('presets')}>
        {PRESETS.map(([name, quartz, unix]) => {
          const preset = dialect === 'unix' ? unix : quartz;
          return (
            preset && (
              <button key={name} type="button" className={classes.preset} onClick={() => change(preset)}>
                {say(`preset.${name}`)}
              </button>
            )
          );
        })}
      </div>
      <ExpressionInput
        value={expression}
        onChange={change}
        dialect={dialect}
        error={fault('expression')}
        place={place && { ...place, column: place.column + cut }}
        onField={setField}
      />
      <CronBuilder expression={expression} dialect={dialect} onChange={change} field={field} onField={setField} />
      <div className={form.pair}>
        <ZonePicker
          id={fieldId('schedule.time_zone')}
          value={time_zone}
          onChange={(time_zone) => set('schedule', { time_zone })}
          viewer={viewer}
          error={fault('time_zone')}
        />
        <Select
          id={fieldId('schedule.dialect')}
          label={say('dialect')}
          data={[
            { value: 'quartz', label: say('dialect.quartz') },
            { value: 'unix', label: say('dialect.unix') },
          ]}
          value={dialect}
          onChange={(value) => {
            const next = value as Dialect;
            set('schedule', { dialect: next, expression: translate(expression, dialect, next) ?? expression });
          }}
          allowDeselect={false}
          error={fault('dialect')}
        />
      </div>
    </>
  );
}
