import { currentLanguage, useWords } from '#/i18n';
import { formatDuration } from '#/lib/duration';
import type { Draft, OverlapPolicy, RoutingPolicy } from '../draft';
import type { Wait } from './backoff';
import classes from './drawing.module.css';
import { Axis, Band, Crossed, Drawing, Fire, LANES, Run, Stopped, TOP, Waiting, WIDTH, Words } from './parts';
import { policyWords } from './policies.words';

/** Three fires, each while the run of the one before still runs. */
export function OverlapDrawing({ policy }: { policy: OverlapPolicy }) {
  const say = useWords(policyWords);
  const fires = [24, 114, 204];
  return (
    <Drawing label={say(`overlap.${policy}_drawing`)}>
      <Axis />
      {fires.map((x) => (
        <Fire key={x} x={x} down={LANES[0] - 9} />
      ))}
      {policy === 'queue' && (
        <>
          <Run x={24} to={150}>
            1
          </Run>
          <Waiting x={114} to={150} />
          <Run x={152} to={276}>
            2
          </Run>
          <Waiting x={204} to={276} />
          <Run x={278} to={314}>
            3
          </Run>
        </>
      )}
      {policy === 'parallel' && (
        <>
          <Run x={24} to={150}>
            1
          </Run>
          <Run x={114} to={240} lane={1}>
            2
          </Run>
          <Run x={204} to={314}>
            3
          </Run>
        </>
      )}
      {policy === 'skip' && (
        <>
          <Run x={24} to={150}>
            1
          </Run>
          <Crossed x={114} lane={1} />
          <Run x={204} to={314}>
            3
          </Run>
        </>
      )}
      {policy === 'replace' && (
        <>
          <Run x={24} to={116} tone="slate">
            1
          </Run>
          <Stopped x={116} />
          <Run x={122} to={206} tone="slate">
            2
          </Run>
          <Stopped x={206} />
          <Run x={212} to={314}>
            3
          </Run>
        </>
      )}
    </Drawing>
  );
}

/** Three fires fall into an outage. */
export function MisfireDrawing({ policy, limit }: { policy: Draft['misfire']['policy']; limit: number }) {
  const say = useWords(policyWords);
  const missed = [70, 114, 158];
  const run = policy === 'skip' ? 0 : policy === 'fire_once' ? 1 : Math.min(Math.max(limit, 1), missed.length);
  return (
    <Drawing label={say(`misfire.${policy}_drawing`, { count: run })}>
      <Axis />
      <Band x={50} to={184} kind="outage" label={say('outage')} />
      {[26, ...missed, 222, 274].map((x) => (
        <Fire key={x} x={x} down={LANES[0] - 9} />
      ))}
      <Run x={26} to={44}>
        1
      </Run>
      {missed.slice(0, missed.length - run).map((x) => (
        <Crossed key={x} x={x} />
      ))}
      {missed.slice(missed.length - run).map((x, index) => (
        <g key={x}>
          <path className={classes.drop} d={`M${x} ${LANES[0] - 9} V${LANES[1]} H${190 + index * 14}`} />
          <Run x={190 + index * 14} to={202 + index * 14} lane={1} tone="green">
            {String(missed.indexOf(x) + 2)}
          </Run>
        </g>
      ))}
      <Run x={222} to={240}>
        5
      </Run>
      <Run x={274} to={292}>
        6
      </Run>
    </Drawing>
  );
}

/** How long after its fire time a run may still start. */
export function StartWindowDrawing({ window }: { window: string }) {
  const say = useWords(policyWords);
  return (
    <Drawing label={say('start_window_drawing')}>
      <Axis />
      <Band x={30} to={190} kind="window" label={window || say('start_window_auto')} />
      <Fire x={30} down={76} />
      <Run x={104} to={176} tone="green">
        {say('starts_late')}
      </Run>
      <Stopped x={190} />
      <Crossed x={232} />
      <Words x={244} y={LANES[0] + 3.5} anchor="start">
        {say('too_late')}
      </Words>
    </Drawing>
  );
}

/** The most waits drawn one by one. */
const DRAWN = 6;

/** The attempts with the waits between them; how long a wait is shows by its length, on a scale that keeps short ones visible. */
export function RetryDrawing({ waits }: { waits: readonly Wait[] | undefined }) {
  const say = useWords(policyWords);
  if (!waits) {
    return (
      <Drawing label={say('retry_wrong')}>
        <Axis />
        <Words x={WIDTH / 2} y={54}>
          {say('retry_wrong')}
        </Words>
      </Drawing>
    );
  }
  const drawn = waits.slice(0, DRAWN);
  const scale = (wait: number) => Math.log2(1 + wait / 100);
  const sum = drawn.reduce((sum, wait) => sum + scale(wait.longest), 0);
  const bar = 14;
  const end = 296;
  const room = end - 24 - (drawn.length + 1) * bar;
  const starts = [24];
  for (const wait of drawn) starts.push((starts.at(-1) ?? 24) + bar + (scale(wait.longest) / sum) * room);
  const label =
    waits.length === 0
      ? say('retry_none_drawing')
      : say('retry_drawing', {
          waits: drawn.map((wait) => formatDuration(wait.longest)).join(currentLanguage() === 'zh' ? '、' : ', '),
        });
  return (
    <Drawing label={label}>
      <Axis />
      <Fire x={24} down={LANES[0] - 9} />
      {starts.map((x, index) => {
        const wait = drawn[index];
        return (
          <g key={x}>
            <Run x={x} to={x + bar} tone="red">
              {String(index + 1)}
            </Run>
            {wait && (
              <Waits
                x={x + bar}
                to={starts[index + 1] ?? end}
                wait={wait}
                words={drawn.length <= 5 || index % 2 === 0}
              />
            )}
          </g>
        );
      })}
      {waits.length > DRAWN ? (
        <Words x={end + 12} y={LANES[0] + 3.5}>
          …
        </Words>
      ) : (
        <Grave x={waits.length === 0 ? 62 : Math.min((starts.at(-1) ?? end) + bar + 12, 308)} />
      )}
    </Drawing>
  );
}

function Waits({ x, to, wait, words }: { x: number; to: number; wait: Wait; words: boolean }) {
  const share = wait.longest === 0 ? 0 : (wait.longest - wait.shortest) / wait.longest;
  const y = LANES[0];
  return (
    <>
      <path className={classes.flow} d={`M${x} ${y} H${to}`} />
      {share > 0 && (
        <rect
          className={classes.band}
          data-kind="outage"
          x={to - (to - x) * share}
          y={y - 5}
          width={(to - x) * share}
          height={10}
        />
      )}
      {words && (
        <Words x={(x + to) / 2} y={LANES[1] + 4}>
          {formatDuration(wait.longest)}
        </Words>
      )}
    </>
  );
}

/** The dead letter at the end. */
function Grave({ x }: { x: number }) {
  const y = LANES[0];
  return (
    <g className={classes.run} data-tone="plum">
      <rect x={x - 8} y={y - 6} width={16} height={12} rx={1} />
      <path d={`M${x - 8} ${y - 6} l8 6.500 l8 -6.500`} fill="none" stroke="var(--s-plum)" />
    </g>
  );
}

/** What happens to an attempt that takes too long. */
export function TimeoutDrawing({ timeout }: { timeout: string }) {
  const say = useWords(policyWords);
  return (
    <Drawing label={say(timeout ? 'timeout_drawing' : 'timeout_none_drawing')}>
      <Axis />
      <Fire x={24} down={LANES[0] - 9} />
      {timeout ? (
        <>
          <Run x={24} to={206} tone="blue" />
          <Run x={208} to={250} tone="slate" />
          <Stopped x={207} />
          <Stopped x={251} />
          <Words x={115} y={LANES[1] + 4}>
            {timeout}
          </Words>
          <Words x={229} y={LANES[1] + 4}>
            {say('grace')}
          </Words>
          <Words x={258} y={LANES[0] + 3.5} anchor="start">
            {say('timed_out')}
          </Words>
        </>
      ) : (
        <>
          <Run x={24} to={250} />
          <path className={classes.flow} d={`M252 ${LANES[0]} h46`} strokeDasharray="3 3" />
          <Words x={160} y={LANES[1] + 4}>
            {say('no_bound')}
          </Words>
        </>
      )}
    </Drawing>
  );
}

/** The first worker's connection breaks while it runs. */
export function WorkerLostDrawing({ policy }: { policy: Draft['worker_lost'] }) {
  const say = useWords(policyWords);
  return (
    <Drawing label={say(`worker_lost.${policy}_drawing`)}>
      <Axis />
      <Fire x={58} down={LANES[0] - 9} />
      <Words x={6} y={LANES[0] + 3.5} anchor="start">
        {say('worker', { name: 'A' })}
      </Words>
      <Words x={6} y={LANES[1] + 3.5} anchor="start">
        {say('worker', { name: 'B' })}
      </Words>
      <Run x={58} to={128}>
        1
      </Run>
      <Stopped x={130} />
      <path className={classes.flow} d={`M134 ${LANES[0]} H${policy === 'retry' ? 214 : 196}`} strokeDasharray="3 3" />
      <Words x={165} y={LANES[0] - 5}>
        ?
      </Words>
      {policy === 'retry' && (
        <Run x={150} to={230} lane={1} tone="green">
          2
        </Run>
      )}
      {policy === 'retry_strict' && (
        <>
          <Waiting x={134} to={206} />
          <Run x={210} to={290} lane={1} tone="green">
            2
          </Run>
        </>
      )}
      {policy === 'skip' && (
        <>
          <Crossed x={212} />
          <Words x={224} y={LANES[0] + 3.5} anchor="start">
            {say('given_up')}
          </Words>
        </>
      )}
    </Drawing>
  );
}

/** Which worker each of four fires goes to. */
const GOES_TO: Record<RoutingPolicy, readonly number[]> = {
  any: [1, 0, 2, 1],
  sticky: [1, 1, 1, 1],
  round_robin: [0, 1, 2, 0],
  random: [2, 0, 0, 1],
  least_loaded: [2, 2, 1, 2],
  first: [0, 0, 0, 0],
  last: [2, 2, 2, 2],
  hash: [0, 2, 0, 1],
  failover: [1, 1, 1, 1],
};

/** How full the workers are, where that decides. */
const LOADS = [0.85, 0.45, 0.2];

export function RoutingDrawing({ policy }: { policy: RoutingPolicy }) {
  const say = useWords(policyWords);
  const fires = [52, 124, 196, 268];
  const workers = [64, 160, 256];
  const values = policy === 'hash' ? ['x', 'y', 'x', 'z'] : ['1', '2', '3', '4'];
  const away = policy === 'failover';
  return (
    <Drawing label={say(`routing.${policy}_drawing`)} height={100}>
      {away &&
        fires
          .slice(0, 1)
          .map((x) => (
            <path key={x} className={classes.link} data-refused="true" d={`M${x} ${TOP + 8} L${workers[0]} 70`} />
          ))}
      {fires.map((x, index) => (
        <path
          key={x}
          className={classes.link}
          d={`M${x} ${TOP + 8} C${x} 46 ${workers[GOES_TO[policy][index] ?? 0]} 42 ${workers[GOES_TO[policy][index] ?? 0]} 70`}
        />
      ))}
      {fires.map((x, index) => (
        <g key={x} className={classes.token}>
          <circle cx={x} cy={TOP} r={9} />
          <text x={x} y={TOP + 3.5} textAnchor="middle">
            {values[index]}
          </text>
        </g>
      ))}
      {workers.map((x, index) => (
        <g key={x} className={classes.worker} data-away={away && index === 0}>
          <rect x={x - 30} y={70} width={60} height={22} rx={4} />
          {policy === 'least_loaded' && (
            <rect
              className={classes.load}
              x={x - 28}
              y={86}
              width={56 * (LOADS[index] ?? 0)}
              height={4}
              stroke="none"
            />
          )}
          <text x={x} y={policy === 'least_loaded' ? 82 : 84.5} textAnchor="middle">
            {say('worker', { name: 'ABC'[index] ?? '' })}
          </text>
        </g>
      ))}
    </Drawing>
  );
}

/** Level 1 splits, level 2 processes, and the results come together. */
export function ParallelDrawing({ tolerated }: { tolerated: number }) {
  const say = useWords(policyWords);
  const columns = 8;
  const failed = Math.min(tolerated, 3);
  return (
    <Drawing label={say('parallel_drawing')}>
      <Run x={8} to={62}>
        {say('split')}
      </Run>
      <path className={classes.flow} d={`M64 ${LANES[0]} h20 m-5 -3 l5 3 l-5 3`} />
      {Array.from({ length: columns * 3 }, (_, index) => (
        <rect
          // biome-ignore lint/suspicious/noArrayIndexKey: the squares are all alike
          key={index}
          className={classes.subtask}
          data-failed={index % 7 === 4 && Math.floor(index / 7) < failed}
          x={92 + (index % columns) * 17}
          y={18 + Math.floor(index / columns) * 17}
          width={12}
          height={12}
          rx={2}
        />
      ))}
      <path className={classes.flow} d={`M232 ${LANES[0]} h20 m-5 -3 l5 3 l-5 3`} />
      <Run x={256} to={312} tone="green">
        {say('reduce')}
      </Run>
      <Words x={158} y={84}>
        {say('subtasks')}
      </Words>
    </Drawing>
  );
}
