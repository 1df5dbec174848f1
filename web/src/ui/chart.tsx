import 'uplot/dist/uPlot.min.css';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import { useZone } from '#/lib/preferences';
import { clock, instant } from '#/lib/time';
import classes from './chart.module.css';

export interface Series {
  label: string;
  /** A variable of the tokens. */
  colour: string;
  dash?: number[];
}

interface ChartProps {
  title: string;
  kind: 'bars' | 'lines';
  series: readonly Series[];
  /** Seconds since the Unix epoch, then the values of each series. */
  data: uPlot.AlignedData;
  /** What the time axis covers, in seconds. */
  range: [number, number];
  /** Days rather than hours on the time axis. */
  days?: boolean;
  format: (value: number) => string;
}

const HEIGHT = 168;

const bars = uPlot.paths.bars?.({ size: [0.72, 24] });

/** The place of the only value of a series, which has no line that would show it. */
function lone(plot: uPlot, series: number): number[] {
  const places: number[] = [];
  plot.data[series]?.forEach((value, place) => {
    if (value !== null && value !== undefined) places.push(place);
  });
  return places.length === 1 ? places : [];
}

/** A chart over time. Import it by `lazy()`: it brings uPlot. */
export function Chart({ title, kind, series, data, range, days = false, format }: ChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const note = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const latest = useRef({ data, format, range, series });
  latest.current = { data, format, range, series };
  const zone = useZone();
  const shape = JSON.stringify(series);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const drawn = JSON.parse(shape) as Series[];
    const label = (at: number) =>
      days ? instant(new Date(at * 1000), zone).slice(5, 10) : clock(new Date(at * 1000), zone).slice(0, 5);
    function draw() {
      plot.current?.destroy();
      const axis = {
        stroke: token('--c-muted'),
        font: "11px 'Inter Variable', system-ui, sans-serif",
        grid: { stroke: token('--c-border'), width: 1 },
        ticks: { show: false },
      };
      const options: uPlot.Options = {
        width: element?.clientWidth || 400,
        height: HEIGHT,
        // Half a label of the time axis stands beyond the last tick.
        padding: [10, 18, 0, 0],
        legend: { show: false },
        cursor: { points: { show: false }, y: false, drag: { x: false, y: false } },
        scales: {
          x: { range: () => latest.current.range },
          y: { range: (_plot, _min, max) => [0, Math.max(1, (max ?? 1) * 1.15)] },
        },
        axes: [
          { ...axis, size: 24, space: 64, grid: { show: false }, values: (_plot, splits) => splits.map(label) },
          {
            ...axis,
            size: 58,
            space: 34,
            values: (_plot, splits) => splits.map((value) => latest.current.format(value)),
          },
        ],
        series: [
          {},
          ...drawn.map((one) => {
            const colour = token(one.colour);
            return {
              label: one.label,
              stroke: colour,
              width: kind === 'bars' ? 0 : 1.6,
              spanGaps: true,
              points: kind === 'bars' ? { show: false } : { size: 7, fill: colour, filter: lone },
              ...(one.dash ? { dash: one.dash } : {}),
              ...(kind === 'bars' && bars ? { paths: bars, fill: colour } : {}),
            };
          }),
        ],
        hooks: {
          setCursor: [
            (self) => {
              const text = note.current;
              if (!text) return;
              const at = self.cursor.idx;
              const time = at === null || at === undefined ? undefined : self.data[0][at];
              if (at === null || at === undefined || time === undefined) {
                text.textContent = '';
                return;
              }
              // Stacked bars hold the sum of what is drawn over them.
              const values = drawn.map((_, index) => self.data[index + 1]?.[at] ?? undefined);
              const shown = values.map((value, index) =>
                kind === 'bars' && value !== undefined ? value - (values[index + 1] ?? 0) : value,
              );
              const parts = drawn.map((one, index) => {
                const value = shown[index];
                return `${one.label} ${value === undefined ? '–' : latest.current.format(value)}`;
              });
              text.textContent = `${instant(new Date(time * 1000), zone, false).slice(5, 16)} · ${parts.join(' · ')}`;
            },
          ],
        },
      };
      plot.current = new uPlot(options, latest.current.data, element as HTMLElement);
    }
    draw();
    const resized = new ResizeObserver(() => {
      if (element.clientWidth > 0) plot.current?.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    resized.observe(element);
    // The colours are drawn, not styled: another theme means another drawing.
    const themed = new MutationObserver(draw);
    themed.observe(document.documentElement, { attributeFilter: ['data-mantine-color-scheme'] });
    return () => {
      resized.disconnect();
      themed.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [shape, zone, kind, days]);

  useEffect(() => plot.current?.setData(data), [data]);

  return (
    <figure className={classes.chart}>
      <figcaption>
        <span>{title}</span>
        <span className={classes.legend}>
          {series.map((one) => (
            <span key={one.label}>
              <svg width="16" height="8" aria-hidden="true">
                {kind === 'bars' ? (
                  <rect x="3" width="8" height="8" rx="1.500" fill={`var(${one.colour})`} />
                ) : (
                  <path
                    d="M0 4h16"
                    stroke={`var(${one.colour})`}
                    strokeWidth="2"
                    strokeDasharray={one.dash?.join(' ')}
                  />
                )}
              </svg>
              {one.label}
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={host} role="img" aria-label={title} />
      <div ref={note} className={`num ${classes.note}`} aria-hidden />
    </figure>
  );
}
