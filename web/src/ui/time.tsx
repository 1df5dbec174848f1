import { durationText, formatDuration, formatTaken, parseDuration } from '#/lib/duration';
import { useNow } from '#/lib/now';
import { useZone } from '#/lib/preferences';
import { clock, instant, relative, zoneLabel } from '#/lib/time';

interface TimeProps {
  at: string | null | undefined;
  /** `full` with day and zone, `clock` without the day, `relative` as distance to now. */
  show?: 'full' | 'clock' | 'relative';
  /** Another zone than the viewer's, such as a job's. */
  zone?: string | undefined;
  /** Whether milliseconds matter; where they are zero, an instant with its day leaves them out. */
  milliseconds?: boolean;
}

/** An instant with its zone; the title says it in full, in both the zone shown and UTC. */
export function Time({ at, show = 'full', zone: ofCaller, milliseconds = true }: TimeProps) {
  const viewer = useZone();
  if (!at) return <span className="muted">–</span>;
  const zone = ofCaller ?? viewer;
  const date = new Date(at);
  const title = `${instant(date, zone)} ${zoneLabel(date, zone)} · ${instant(date, 'UTC')} UTC`;
  return (
    <time dateTime={at} title={title} className="num nowrap">
      {show === 'relative' ? (
        <Relative at={date} />
      ) : show === 'clock' ? (
        clock(date, zone, milliseconds)
      ) : (
        <>
          {instant(date, zone, milliseconds && date.getUTCMilliseconds() !== 0)}{' '}
          <span className="muted">{zoneLabel(date, zone)}</span>
        </>
      )}
    </time>
  );
}

function Relative({ at }: { at: Date }) {
  return relative(at, useNow());
}

/** A duration that was measured, as the API writes it, or in milliseconds. */
export function Duration({ of }: { of: string | number | null | undefined }) {
  const milliseconds = typeof of === 'number' ? of : parseDuration(of);
  if (milliseconds === undefined) return <span className="muted">{of || '–'}</span>;
  return <span className="num nowrap">{formatTaken(milliseconds)}</span>;
}

/** How long something has been going on, counting. */
export function Elapsed({ since }: { since: string }) {
  const now = useNow();
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  return <span className="num nowrap">{seconds === 0 ? durationText('0s') : formatDuration(seconds * 1000)}</span>;
}

/** From here on lateness is worth a look, in milliseconds. */
const NOTICEABLE_MS = 100;
const BAD_MS = 1_000;

/** How late a run started; what is late stands out. */
export function Lateness({ of }: { of: string | number | null | undefined }) {
  const milliseconds = typeof of === 'number' ? of : parseDuration(of);
  if (milliseconds === undefined) return <span className="muted">–</span>;
  const color = milliseconds >= BAD_MS ? 'var(--s-red)' : milliseconds >= NOTICEABLE_MS ? 'var(--s-orange)' : undefined;
  return (
    <span className="num nowrap" style={{ color, fontWeight: color ? 600 : undefined }}>
      {milliseconds < 0 ? '' : '+'}
      {formatDuration(milliseconds)}
    </span>
  );
}
