/** Every IANA zone that the browser knows, UTC among them. */
export function allZones(): string[] {
  const known = Intl.supportedValuesOf('timeZone');
  return known.includes('UTC') ? known : ['UTC', ...known];
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string): Intl.DateTimeFormat {
  let found = formats.get(zone);
  if (!found) {
    found = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    formats.set(zone, found);
  }
  return found;
}

/** Whether the browser knows the zone. */
export function isZone(zone: string): boolean {
  try {
    return Boolean(format(zone));
  } catch {
    return false;
  }
}

/** `2026-11-20T20:39:28`: what the clock of `zone` shows, as inputs of type `datetime-local` hold it. */
export function localOf(at: Date, zone: string): string {
  const parts = Object.fromEntries(
    format(zone)
      .formatToParts(at)
      .map((part) => [part.type, part.value]),
  );
  return `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}:${parts.second}`;
}

/** How far the clock of `zone` is ahead of UTC, in minutes. */
export function offsetMinutes(at: Date, zone: string): number {
  const seconds = Math.floor(at.getTime() / 1_000) * 1_000;
  return Math.round((Date.parse(`${localOf(at, zone)}Z`) - seconds) / 60_000);
}

/** `+08:00`. */
export function offsetText(at: Date, zone: string): string {
  const minutes = offsetMinutes(at, zone);
  const size = Math.abs(minutes);
  const two = (number: number) => String(number).padStart(2, '0');
  return `${minutes < 0 ? '−' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/**
 * The instant at which the clock of `zone` shows `local`: the first one where it shows it twice, and where it never does,
 * the one that an unchanged clock would have shown. Undefined for what is no time.
 */
export function instantOf(local: string, zone: string): Date | undefined {
  const asUtc = Date.parse(`${local.length === 16 ? `${local}:00` : local}Z`);
  if (!Number.isFinite(asUtc)) return undefined;
  const offsets = [asUtc - 86_400_000, asUtc + 86_400_000].map((near) => offsetMinutes(new Date(near), zone));
  const candidates = offsets.map((offset) => new Date(asUtc - offset * 60_000));
  const shown = candidates.filter((at) => Date.parse(`${localOf(at, zone)}Z`) === asUtc);
  return shown.sort((a, b) => a.getTime() - b.getTime())[0] ?? candidates[0];
}
