import { Button, Group, Modal } from '@mantine/core';
import { useState } from 'react';
import type { Job } from '#/api/queries';
import { useWords } from '#/i18n';
import { actorText } from '#/lib/actor';
import { useZone } from '#/lib/preferences';
import { instant } from '#/lib/time';
import { Notice } from '#/ui/notice';
import { uiWords } from '#/ui/words';
import { draftOf, type JobSpec, specOf } from '../draft';
import { useFieldName } from '../field-name';
import { formWords } from '../words';
import classes from './conflict.module.css';
import { type Difference, differences, firstChoice, merged, type Side } from './differences';

interface ConflictProps {
  /** The version that the form began with. */
  base: Job;
  mine: JobSpec;
  /** The version in force. */
  theirs: Job;
  onBack: () => void;
  /** Drops what was typed and goes on with the version in force. */
  onTakeTheirs: () => void;
  /** Saves on top of the version in force. */
  onSave: (spec: JobSpec) => Promise<void>;
}

/** Somebody saved meanwhile: both versions side by side, and a choice for each field that differs. */
export function Conflict({ base, mine, theirs, onBack, onTakeTheirs, onSave }: ConflictProps) {
  const say = useWords(formWords);
  const ui = useWords(uiWords);
  const zone = useZone();
  const theirSpec = specOf(draftOf(theirs));
  const found = differences(specOf(draftOf(base)), mine, theirSpec);
  const [chosen, setChosen] = useState<Record<string, Side>>({});
  const [busy, setBusy] = useState(false);
  const sideOf = (difference: Difference) => chosen[difference.field] ?? firstChoice(difference);
  const all = (side: Side) => setChosen(Object.fromEntries(found.map(({ field }) => [field, side])));

  async function save() {
    setBusy(true);
    await onSave(merged(theirSpec, found, chosen)).finally(() => setBusy(false));
  }

  return (
    <Modal
      opened
      onClose={onBack}
      title={say('conflict.title')}
      size="xl"
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      <Notice tone="orange">
        {say('conflict.text', {
          name: actorText(theirs.updated_by),
          revision: theirs.revision,
          when: instant(new Date(theirs.updated_at), zone, false),
          mine: base.revision,
        })}
      </Notice>
      {found.length === 0 ? (
        <p>{say('conflict.same')}</p>
      ) : (
        <>
          <Group gap="xs" my="sm">
            <Button variant="default" onClick={() => all('mine')}>
              {say('conflict.all_mine')}
            </Button>
            <Button variant="default" onClick={() => all('theirs')}>
              {say('conflict.all_theirs')}
            </Button>
          </Group>
          <ul className={classes.list}>
            {found.map((difference) => (
              <li key={difference.field}>
                <Choice
                  difference={difference}
                  side={sideOf(difference)}
                  onChange={(side) => setChosen({ ...chosen, [difference.field]: side })}
                />
              </li>
            ))}
          </ul>
        </>
      )}
      <Group justify="flex-end" gap="xs" mt="lg">
        <Button variant="default" onClick={onBack} disabled={busy}>
          {say('conflict.back')}
        </Button>
        <Button variant="default" onClick={onTakeTheirs} disabled={busy}>
          {say('conflict.take_theirs')}
        </Button>
        {found.length > 0 && (
          <Button onClick={() => void save()} loading={busy}>
            {say('conflict.save')}
          </Button>
        )}
      </Group>
    </Modal>
  );
}

interface ChoiceProps {
  difference: Difference;
  side: Side;
  onChange: (side: Side) => void;
}

function Choice({ difference, side, onChange }: ChoiceProps) {
  const say = useWords(formWords);
  const fieldName = useFieldName();
  const name = fieldName(difference.field);
  const by = { me: 'conflict.by_me', them: 'conflict.by_them', both: 'conflict.both' } as const;
  return (
    <fieldset className={classes.choice}>
      <legend>
        <span className="sr-only">{say('conflict.choose', { field: name })}</span>
        <span aria-hidden>{name}</span>
        <span className={classes.by} data-by={difference.by}>
          {say(by[difference.by])}
        </span>
      </legend>
      <div className={classes.was}>
        <span className="muted">{say('conflict.was')}</span> <Value of={difference.base} beside={difference.base} />
      </div>
      <div className={classes.sides}>
        {(['mine', 'theirs'] as const).map((option) => (
          <label key={option} className={classes.side}>
            <input
              type="radio"
              name={`conflict-${difference.field}`}
              checked={side === option}
              onChange={() => onChange(option)}
            />
            <span>
              <span className="muted">{say(`conflict.${option}`)}</span>
              <Value of={difference[option]} beside={difference[option === 'mine' ? 'theirs' : 'mine']} />
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** A value; of one with parts, those that are others on the other side are marked. */
function Value({ of, beside }: { of: unknown; beside: unknown }) {
  const say = useWords(formWords);
  const lines = written(of);
  const others = written(beside);
  if (lines.length === 0) return <em className="muted">{say('nothing')}</em>;
  return (
    <code className={classes.value}>
      {lines.map((line) => (
        <span key={line}>{lines.length > 1 && !others.includes(line) ? <mark>{line}</mark> : line}</span>
      ))}
    </code>
  );
}

/** A value as lines of names and values; nulls say nothing in a comparison. */
function written(value: unknown): string[] {
  if (value === null || value === undefined || value === '') return [];
  if (typeof value !== 'object') return [String(value)];
  if (Array.isArray(value)) return [JSON.stringify(value)];
  return Object.entries(value)
    .filter(([, part]) => part !== null && part !== undefined && part !== '')
    .map(([name, part]) => `${name}: ${typeof part === 'object' ? JSON.stringify(part) : part}`);
}
