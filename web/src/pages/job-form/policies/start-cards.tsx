import { TextInput } from '@mantine/core';
import { useWords } from '#/i18n';
import { durationText } from '#/lib/duration';
import { countText } from '#/lib/time';
import { LabelsInput } from '../basic';
import type { OverlapPolicy, RoutingPolicy } from '../draft';
import { fieldId, useForm } from '../state';
import { Tiles } from '../tiles';
import { formWords } from '../words';
import { PolicyCard } from './card';
import classes from './card.module.css';
import { MisfireDrawing, OverlapDrawing, RoutingDrawing, StartWindowDrawing } from './drawings';
import { differs, PolicyField, standard } from './fields';
import { policyWords } from './policies.words';

const OVERLAPS: readonly OverlapPolicy[] = ['queue', 'parallel', 'skip', 'replace'];

/** A fire meets a run that still runs. */
export function Overlap() {
  const say = useWords(policyWords);
  const form = useWords(formWords);
  const { draft, set } = useForm();
  const { policy, max, limit } = draft.overlap;
  return (
    <PolicyCard
      title={form('field.overlap')}
      question={say('overlap_question')}
      changed={
        policy === 'queue'
          ? differs(draft, 'overlap', ['limit'])
          : policy !== standard.overlap.policy || differs(draft, 'overlap', ['max'])
      }
      onReset={() => set('overlap', standard.overlap)}
      drawing={<OverlapDrawing policy={policy} />}
      text={say(`overlap.${policy}_text`, {
        max: countText(max || standard.overlap.max),
        limit: countText(limit || standard.overlap.limit),
      })}
    >
      <Tiles
        id={fieldId('overlap.policy')}
        label={form('field.overlap')}
        labelHidden
        tiles={OVERLAPS.map((value) => ({ value, label: say(`overlap.${value}`) }))}
        value={policy}
        onChange={(policy) => set('overlap', { policy })}
        standard="queue"
        standardWord={form('default')}
      />
      {policy === 'parallel' && (
        <PolicyField of="overlap" part="max" kind="number" description={say('overlap_max_hint')} />
      )}
      {policy === 'queue' && (
        <PolicyField of="overlap" part="limit" kind="number" description={say('overlap_limit_hint')} />
      )}
    </PolicyCard>
  );
}

const MISFIRES = ['fire_once', 'fire_all', 'skip'] as const;

/** A fire could not start in time. */
export function Misfire() {
  const say = useWords(policyWords);
  const form = useWords(formWords);
  const { draft, set } = useForm();
  const { policy, limit, window } = draft.misfire;
  const most = Number((limit || standard.misfire.limit).replaceAll(',', ''));
  return (
    <PolicyCard
      title={form('field.misfire')}
      question={say('misfire_question')}
      changed={differs(draft, 'misfire', policy === 'fire_all' ? ['policy', 'limit', 'window'] : ['policy', 'window'])}
      onReset={() => set('misfire', standard.misfire)}
      drawing={<MisfireDrawing policy={policy} limit={Number.isFinite(most) ? most : 3} />}
      text={say(`misfire.${policy}_text`, {
        limit: countText(limit || standard.misfire.limit),
        window: durationText(window || standard.misfire.window),
      })}
    >
      <Tiles
        id={fieldId('misfire.policy')}
        label={form('field.misfire')}
        labelHidden
        tiles={MISFIRES.map((value) => ({ value, label: say(`misfire.${value}`) }))}
        value={policy}
        onChange={(policy) => set('misfire', { policy })}
        standard="fire_once"
        standardWord={form('default')}
      />
      <div className={classes.pair}>
        {policy === 'fire_all' && (
          <PolicyField of="misfire" part="limit" kind="number" description={say('misfire_limit_hint')} />
        )}
        {policy !== 'skip' && (
          <PolicyField of="misfire" part="window" kind="duration" description={say('misfire_window_hint')} />
        )}
      </div>
    </PolicyCard>
  );
}

/** From when on a fire counts as misfired. */
export function StartWindow() {
  const say = useWords(policyWords);
  const form = useWords(formWords);
  const { draft, set, faultOf } = useForm();
  const window = durationText(draft.start_window);
  return (
    <PolicyCard
      title={form('field.start_window')}
      question={say('start_window_question')}
      changed={window !== ''}
      onReset={() => set('start_window', '')}
      drawing={<StartWindowDrawing window={window} />}
      text={window ? say('start_window_text', { window }) : say('start_window_auto_text')}
    >
      <TextInput
        id={fieldId('start_window')}
        label={form('field.start_window')}
        description={say('start_window_hint')}
        placeholder={say('start_window_auto')}
        value={draft.start_window}
        onChange={(event) => set('start_window', event.currentTarget.value)}
        error={faultOf('start_window')}
      />
    </PolicyCard>
  );
}

const ROUTINGS: readonly RoutingPolicy[] = [
  'any',
  'sticky',
  'round_robin',
  'random',
  'least_loaded',
  'first',
  'last',
  'hash',
  'failover',
];

/** Which worker runs it. */
export function Routing() {
  const say = useWords(policyWords);
  const form = useWords(formWords);
  const { draft, set, faultOf } = useForm();
  const { policy, field } = draft.routing;
  const { labels, prefer_room } = draft.selector;
  return (
    <PolicyCard
      title={form('field.routing')}
      question={say('routing_question')}
      changed={policy !== standard.routing.policy || labels.length > 0 || prefer_room.trim() !== ''}
      onReset={() => {
        set('routing', standard.routing);
        set('selector', standard.selector);
      }}
      drawing={<RoutingDrawing policy={policy} />}
      wide
      text={say(`routing.${policy}_text`, { field: field || '…' })}
    >
      <Tiles
        id={fieldId('routing.policy')}
        label={form('field.routing')}
        labelHidden
        tiles={ROUTINGS.map((value) => ({ value, label: say(`routing.${value}`) }))}
        value={policy}
        onChange={(policy) => set('routing', { policy })}
        standard="any"
        standardWord={form('default')}
      />
      {policy === 'hash' && (
        <PolicyField of="routing" part="field" kind="text" description={say('routing_field_hint')} required />
      )}
      <div className={classes.pair}>
        <LabelsInput
          id={fieldId('selector.labels')}
          label={form('field.selector.labels')}
          description={say('selector_hint')}
          value={labels}
          onChange={(labels) => set('selector', { labels })}
          error={faultOf('selector.labels')}
        />
        <TextInput
          id={fieldId('selector.prefer_room')}
          label={form('field.selector.prefer_room')}
          description={say('room_hint')}
          value={prefer_room}
          onChange={(event) => set('selector', { prefer_room: event.currentTarget.value })}
          error={faultOf('selector.prefer_room')}
        />
      </div>
    </PolicyCard>
  );
}
