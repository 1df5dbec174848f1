import { useSyncExternalStore } from 'react';

/** How times are shown: in the browser's zone or in UTC. */
export type ZoneChoice = 'local' | 'utc';

const STORED = 'carillon.zone';
const listeners = new Set<() => void>();

function read(): ZoneChoice {
  return localStorage.getItem(STORED) === 'utc' ? 'utc' : 'local';
}

export function chooseZone(zone: ZoneChoice) {
  localStorage.setItem(STORED, zone);
  for (const listener of listeners) listener();
}

export function useZoneChoice(): ZoneChoice {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, read);
}

/** The IANA name of the zone in which times are shown. */
export function useZone(): string {
  return useZoneChoice() === 'utc' ? 'UTC' : Intl.DateTimeFormat().resolvedOptions().timeZone;
}
