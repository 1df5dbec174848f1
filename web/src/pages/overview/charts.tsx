import 'uplot/dist/uPlot.min.css';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import type { Stats } from '#/api/live';
import { useWords } from '#/i18n';
import { formatDuration } from '#/lib/duration';
import { useZone } from '#/lib/preferences';
import { clock } from '#/lib/time';
import classes from './page.module.css';
import { overviewWords } from './words';

interface Series {
  label: string;
  /** A variable of the tokens. */
  colour: string;
  dash?: number[];
  fill?: boolean;
  bars?: boolean;
}

interface ChartProps {
  title: string;
  series: readonly Series[];
  data: uPlot.AlignedData;
  format: (value: number) => string;
}

const HEIGHT = 140;

const bars = uPlot.paths.bars?.({ size: [0.7], align: 0 });

/** Seconds that the charts show: as many as are kept. */
const WINDOW = 300;

/** The live charts: what the last minutes looked like, second by second. */
export default function Charts({ stats }: { stats: readonly Stats[] }) {
  const say = useWords(overviewWords);
  const times = stats.map((second) => second.at / 1000);
  if (stats.length < 2) return <div className={classes.collecting}>{say('collecting')}</div>;
  const orNull = (second: Stats, value: number) => (second.fires_per_second > 0 ? value / 1000 : null);
  return (
    <div className={classes.charts}>
      <Chart
        title={say('chart_fires')}
        series={[
          { label: say('fired'), colour: '--c-accent', fill: true, bars: true },
          { label: say('failing'), colour: '--s-red', dash: [4, 3] },
        ]}
        data={[times, stats.map((second) => second.fires_per_second), stats.map((second) => second.failed_per_second)]}
        format={(value) => String(value)}
      />
      <Chart
        title={say('chart_lateness')}
        series={[
          { label: 'p50', colour: '--c-accent' },
          { label: 'p99', colour: '--s-orange', dash: [6, 3] },
          { label: 'max', colour: '--s-red', dash: [2, 3] },
        ]}
        data={[
          times,
          stats.map((second) => orNull(second, second.lateness_p50_us)),
          stats.map((second) => orNull(second, second.lateness_p99_us)),
          stats.map((second) => orNull(second, second.lateness_max_us)),
        ]}
        format={formatDuration}
      />
    </div>
  );
}

function Chart({ title, series, data, format }: ChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const latest = useRef({ data, format });
  latest.current = { data, format };
  const zone = useZone();
  const shape = JSON.stringify(series);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const drawn = JSON.parse(shape) as Series[];
    function draw() {
      plot.current?.destroy();
      const axis = {
        stroke: token('--c-muted'),
        font: '11px Inter Variable, system-ui, sans-serif',
        grid: { stroke: token('--c-border'), width: 1 },
        ticks: { show: false },
      };
      plot.current = new uPlot(
        {
          width: element?.clientWidth ?? 400,
          height: HEIGHT,
          padding: [10, 6, 0, 0],
          legend: { show: false },
          cursor: { points: { show: false }, y: false },
          scales: {
            x: { range: (_plot, _min, max) => [max - WINDOW, max] },
            y: { range: (_plot, _min, max) => [0, Math.max(1, max * 1.15)] },
          },
          axes: [
            {
              ...axis,
              size: 24,
              values: (_plot, splits) => splits.map((at) => clock(new Date(at * 1000), zone).slice(0, 5)),
              space: 70,
            },
            {
              ...axis,
              size: 62,
              values: (_plot, splits) => splits.map((value) => latest.current.format(value)),
              space: 34,
            },
          ],
          series: [
            {},
            ...drawn.map((one) => ({
              label: one.label,
              stroke: token(one.colour),
              width: 1.5,
              spanGaps: true,
              points: { show: false },
              ...(one.dash ? { dash: one.dash } : {}),
              ...(one.bars && bars ? { paths: bars } : {}),
              ...(one.fill ? { fill: `color-mix(in srgb, ${token(one.colour)} 38%, transparent)` } : {}),
            })),
          ],
        },
        latest.current.data,
        element as HTMLElement,
      );
    }
    draw();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
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
  }, [shape, zone]);

  useEffect(() => plot.current?.setData(data), [data]);

  return (
    <figure className={classes.chart}>
      <figcaption>
        <span>{title}</span>
        <span className={classes.legend}>
          {series.map((one) => (
            <span key={one.label}>
              <svg width="16" height="8" aria-hidden="true">
                <path d="M0 4h16" stroke={`var(${one.colour})`} strokeWidth="2" strokeDasharray={one.dash?.join(' ')} />
              </svg>
              {one.label}
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={host} role="img" aria-label={title} />
    </figure>
  );
}
