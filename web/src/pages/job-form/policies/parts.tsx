import type { ReactNode } from 'react';
import classes from './drawing.module.css';

/** Where the fires stand and the lanes of the runs, in the units of the drawing. */
export const TOP = 14;
export const WIDTH = 320;
export const LANES = [40, 64] as const;
const RUN_HEIGHT = 16;

/** A small picture of what a policy does; its label says the same to those who hear the page. */
export function Drawing({ label, height = 92, children }: { label: string; height?: number; children: ReactNode }) {
  return (
    <svg className={classes.drawing} role="img" aria-label={label} viewBox={`0 0 ${WIDTH} ${height}`}>
      {children}
    </svg>
  );
}

/** Time, from left to right. */
export function Axis() {
  return (
    <g className={classes.axis}>
      <path d={`M6 ${TOP} H${WIDTH - 8}`} />
      <path d={`M${WIDTH - 12} ${TOP - 3} l4 3 l-4 3`} />
    </g>
  );
}

/** A fire time: a small bell on the axis. */
export function Fire({ x, down = 0 }: { x: number; down?: number }) {
  return (
    <g>
      {down > 0 && <path className={classes.drop} d={`M${x} ${TOP} V${down}`} />}
      <path
        className={classes.bell}
        d={`M${x} ${TOP - 9} c-3.400 0-4.600 2.600-4.800 5.600 c-.1 2-.8 3.400-2 4.600 h13.600 c-1.200-1.200-1.900-2.600-2-4.600 c-.2-3-1.400-5.600-4.800-5.600 z`}
      />
    </g>
  );
}

type Tone = 'blue' | 'red' | 'green' | 'slate' | 'plum';

/** A run from `x` to `to`. */
export function Run({
  x,
  to,
  lane = 0,
  tone = 'blue',
  children,
}: {
  x: number;
  to: number;
  lane?: 0 | 1;
  tone?: Tone;
  children?: string | undefined;
}) {
  const y = LANES[lane];
  return (
    <g data-tone={tone} className={classes.run}>
      <rect x={x} y={y - RUN_HEIGHT / 2} width={Math.max(to - x, 3)} height={RUN_HEIGHT} rx={3} />
      {children && (
        <text x={(x + to) / 2} y={y + 3.5} textAnchor="middle">
          {children}
        </text>
      )}
    </g>
  );
}

/** A run that waits from `x` to `to`. */
export function Waiting({ x, to, lane = 1 }: { x: number; to: number; lane?: 0 | 1 }) {
  const y = LANES[lane];
  return <rect className={classes.waiting} x={x} y={y - 5} width={to - x} height={10} rx={3} />;
}

/** A fire that does not run. */
export function Crossed({ x, lane = 0 }: { x: number; lane?: 0 | 1 }) {
  const y = LANES[lane];
  return (
    <g className={classes.crossed}>
      <circle cx={x} cy={y} r={7} />
      <path d={`M${x - 3} ${y - 3} l6 6 M${x + 3} ${y - 3} l-6 6`} />
    </g>
  );
}

/** A run that was stopped at `x`. */
export function Stopped({ x, lane = 0 }: { x: number; lane?: 0 | 1 }) {
  const y = LANES[lane];
  return <path className={classes.stopped} d={`M${x} ${y - 12} v24`} />;
}

/** A stretch of time with a meaning. */
export function Band({ x, to, kind, label }: { x: number; to: number; kind: 'outage' | 'window'; label: string }) {
  return (
    <g>
      <rect className={classes.band} data-kind={kind} x={x} y={TOP + 6} width={to - x} height={64} rx={4} />
      <Words x={(x + to) / 2} y={TOP + 66}>
        {label}
      </Words>
    </g>
  );
}

export function Words({
  x,
  y,
  anchor = 'middle',
  children,
}: {
  x: number;
  y: number;
  anchor?: 'start' | 'middle' | 'end';
  children: string;
}) {
  return (
    <text className={classes.words} x={x} y={y} textAnchor={anchor}>
      {children}
    </text>
  );
}
