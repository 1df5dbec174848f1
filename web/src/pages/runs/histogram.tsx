import { Button } from '@mantine/core';
import { IconX } from '@tabler/icons-react';
import { type PointerEvent, useRef, useState } from 'react';
import type { Schemas } from '#/api/client';
import { useWords } from '#/i18n';
import { formatDuration, parseDuration } from '#/lib/duration';
import { useZone } from '#/lib/preferences';
import { count, instant } from '#/lib/time';
import classes from './histogram.module.css';
import { runsWords } from './words';

type Bar = Schemas['Bar'];

interface HistogramProps {
  histogram: Schemas['Histogram'];
  /** What it covers, in words. */
  span: string;
  /** What is chosen, in milliseconds. */
  chosen: [number, number] | undefined;
  onChoose: (range: [number, number] | undefined) => void;
}

const HEIGHT = 56;

/** From the foot up: what is fine below, what is not on top of it. */
const parts = ['succeeded', 'other', 'skipped', 'missed', 'failed'] as const;

/** Runs over time; dragging over the bars chooses a time. The filters choose one without a mouse. */
export function Histogram({ histogram, span, chosen, onChoose }: HistogramProps) {
  const say = useWords(runsWords);
  const zone = useZone();
  const box = useRef<SVGSVGElement>(null);
  const [drag, setDrag] = useState<[number, number]>();
  const [over, setOver] = useState<number>();
  const { bars } = histogram;
  const step = parseDuration(histogram.step) ?? 60_000;
  const most = Math.max(1, ...bars.map((bar) => parts.reduce((sum, part) => sum + bar[part], 0)));
  const start = Date.parse(bars[0]?.at ?? '');

  function indexAt(event: PointerEvent): number {
    const rect = box.current?.getBoundingClientRect();
    if (!rect) return 0;
    const at = Math.floor(((event.clientX - rect.left) / rect.width) * bars.length);
    return Math.max(0, Math.min(bars.length - 1, at));
  }

  function finish() {
    if (!drag) return;
    const [first, last] = [Math.min(...drag), Math.max(...drag)];
    setDrag(undefined);
    onChoose([start + first * step, start + (last + 1) * step]);
  }

  const shown: [number, number] | undefined = drag
    ? [Math.min(...drag), Math.max(...drag) + 1]
    : chosen && [(chosen[0] - start) / step, (chosen[1] - start) / step];
  const text = (at: number) => instant(new Date(at), zone, false).slice(5, 16);
  const bar = over === undefined ? undefined : bars[over];

  return (
    <div className={classes.histogram}>
      <div className={classes.head}>
        <strong>{`${say('histogram')} · ${span}`}</strong>
        <span className={classes.legend}>
          {parts
            .filter((part) => bars.some((bar) => bar[part] > 0))
            .map((part) => (
              <span key={part}>
                <svg width="8" height="8" aria-hidden="true">
                  <rect data-part={part} width="8" height="8" rx="1.5" />
                </svg>
                {say(`part.${part}`)}
              </span>
            ))}
          <span className="num">{say('histogram_most', { most: count(most), step: formatDuration(step) })}</span>
        </span>
      </div>
      <svg
        ref={box}
        role="img"
        aria-label={say('histogram')}
        viewBox={`0 0 ${bars.length} ${HEIGHT}`}
        preserveAspectRatio="none"
        height={HEIGHT}
        width="100%"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          const at = indexAt(event);
          setDrag([at, at]);
        }}
        onPointerMove={(event) => {
          const at = indexAt(event);
          setOver(at);
          if (drag) setDrag([drag[0], at]);
        }}
        onPointerUp={finish}
        onPointerCancel={() => setDrag(undefined)}
        onPointerLeave={() => setOver(undefined)}
      >
        {shown && (
          <rect
            className={classes.chosen}
            x={Math.max(0, shown[0])}
            y={0}
            width={Math.max(0, Math.min(bars.length, shown[1]) - Math.max(0, shown[0]))}
            height={HEIGHT}
          />
        )}
        {bars.map((bar, index) => (
          <BarOf key={bar.at} bar={bar} index={index} most={most} />
        ))}
      </svg>
      <div className={classes.foot}>
        <span className="num">{text(start)}</span>
        <span className="num" role="status">
          {bar ? inWords(bar) : histogram.complete ? '' : say('histogram_incomplete')}
        </span>
        {chosen ? (
          <Button
            size="compact-xs"
            variant="light"
            leftSection={<IconX size={12} />}
            onClick={() => onChoose(undefined)}
          >
            {`${text(chosen[0])} – ${text(chosen[1])}`}
          </Button>
        ) : (
          <span className="num">{text(start + bars.length * step)}</span>
        )}
      </div>
    </div>
  );

  function inWords(bar: Bar): string {
    const words = parts
      .filter((part) => bar[part] > 0)
      .map((part) => `${count(bar[part])} ${say(`part.${part}`)}`)
      .join(', ');
    return `${text(Date.parse(bar.at))}: ${words || '0'}`;
  }
}

function BarOf({ bar, index, most }: { bar: Bar; index: number; most: number }) {
  let y = HEIGHT;
  return parts.map((part) => {
    if (bar[part] === 0) return null;
    // One failure among thousands must still be seen.
    const height = Math.max(part === 'succeeded' ? 1 : 3, (bar[part] / most) * (HEIGHT - 6));
    y -= height;
    return <rect key={part} data-part={part} x={index + 0.12} y={y} width={0.76} height={height} />;
  });
}
