import { Skeleton } from '@mantine/core';
import { IconClockHour4 } from '@tabler/icons-react';
import type { Schemas } from '#/api/client';
import { locale, useWords } from '#/i18n';
import { useNow } from '#/lib/now';
import { useSentence } from '#/lib/sentence';
import { relative } from '#/lib/time';
import { isZone, localOf, offsetText } from '#/lib/zone';
import { Notice } from '#/ui/notice';
import { clockChangeText } from './cron/clock-change';
import type { Schedule } from './draft';
import classes from './page.module.css';
import type { SchedulePreview } from './preview';
import { scheduleWords } from './schedule.words';

interface FiresProps {
  schedule: Schedule;
  preview: SchedulePreview;
  viewer: string;
  /** Where it stands elsewhere, it is left out here. */
  withSentence?: boolean;
}

/** What the schedule means: a sentence, the next fires on both clocks, and what changes of the clock do. */
export function Fires({ schedule, preview, viewer, withSentence = true }: FiresProps) {
  const say = useWords(scheduleWords);
  const { view, old, problem } = preview;
  const sentence = useSentence(schedule, view?.sentence ?? '');
  if (problem) return <Notice tone="orange">{problem.isPassing ? say('preview_away') : problem.message}</Notice>;
  if (!view) {
    return preview.faults.length > 0 ? (
      <p className="muted">{say('preview_wrong')}</p>
    ) : (
      <Skeleton height={180} aria-label={say('preview_loading')} />
    );
  }
  const zone = schedule.type === 'cron' ? (schedule.time_zone ?? 'UTC') : undefined;
  return (
    <div className={classes.stack} data-old={old} aria-live="polite">
      {withSentence && (
        <p className={classes.sentence}>
          <IconClockHour4 size={17} aria-hidden />
          <span>{sentence}</span>
        </p>
      )}
      {view.fires.length > 0 ? (
        <FireTable fires={view.fires} zone={zone} viewer={viewer} />
      ) : (
        <p className="muted">{say(schedule.type === 'api' ? 'no_fires_api' : 'no_fires_delay')}</p>
      )}
      {view.clock_changes.map((note) => (
        <Notice key={note.at} tone="olive">
          {clockChangeText(note)}
        </Notice>
      ))}
      {zone !== undefined && view.clock_changes.length === 0 && (
        <p className={`muted ${classes.small}`}>{say('no_clock_changes')}</p>
      )}
    </div>
  );
}

function FireTable({ fires, zone, viewer }: { fires: readonly Fire[]; zone: string | undefined; viewer: string }) {
  const say = useWords(scheduleWords);
  const now = useNow();
  // What no zone drives is shown in UTC beside the viewer's clock.
  const theirs = zone ?? 'UTC';
  const both = theirs !== viewer && isZone(viewer);
  const theirOffset = (fire: Fire) => offsetOf(fire.local);
  const myOffset = (fire: Fire) => offsetText(new Date(fire.at), viewer);
  const first = fires[0];
  return (
    <table className={classes.fires}>
      <caption className="sr-only">{say('next_fires')}</caption>
      <thead>
        <tr>
          <th scope="col">
            {theirs} <span className={classes.offset}>{first && theirOffset(first)}</span>
            <span className={classes.whose}>{zone !== undefined && say(both ? 'zone_of_job' : 'zone_of_both')}</span>
          </th>
          {both && (
            <th scope="col">
              {viewer} <span className={classes.offset}>{first && myOffset(first)}</span>
              <span className={classes.whose}>{say('zone_yours')}</span>
            </th>
          )}
          <th scope="col" className={classes.relative}>
            {say('in_time')}
          </th>
        </tr>
      </thead>
      <tbody>
        {fires.map((fire, index) => (
          <tr key={fire.at}>
            <td>
              <Local text={fire.local} />
              <Changed from={fires[index - 1]} to={fire} offset={theirOffset} />
            </td>
            {both && (
              <td>
                <Local text={localOf(new Date(fire.at), viewer)} />
                <Changed from={fires[index - 1]} to={fire} offset={myOffset} />
              </td>
            )}
            <td className={classes.relative}>{relative(new Date(fire.at), now)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

type Fire = Schemas['PreviewFireView'];

/** The offset, where it is another one than at the fire before: the clock was changed in between. */
function Changed({ from, to, offset }: { from: Fire | undefined; to: Fire; offset: (fire: Fire) => string }) {
  if (from === undefined || offset(from) === offset(to)) return null;
  return (
    <>
      {' '}
      <span className={classes.offset} data-changed>
        {offset(to)}
      </span>
    </>
  );
}

/** The offset of a local time as the API writes it. */
function offsetOf(local: string): string {
  const offset = local.slice(19).replace(/^\.\d+/, '');
  return offset === 'Z' ? '+00:00' : offset.replace('-', '−');
}

/** Day of the week, day, time: `2026-11-20T17:00:00` as people read it. */
function Local({ text }: { text: string }) {
  const [day, time] = [text.slice(0, 10), text.slice(11, 19)];
  const weekday = new Intl.DateTimeFormat(locale(), { weekday: 'short', timeZone: 'UTC' }).format(
    Date.parse(`${day}T00:00:00Z`),
  );
  return (
    <span className="num nowrap">
      <span className="muted">{weekday}</span> {day} <strong>{time}</strong>
    </span>
  );
}
