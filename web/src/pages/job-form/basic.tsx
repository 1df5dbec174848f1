import { Autocomplete, Select, TagsInput, Textarea, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { type Group, workersQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { Notice } from '#/ui/notice';
import { Panel } from '#/ui/page';
import type { Draft } from './draft';
import classes from './page.module.css';
import { fieldId, useForm } from './state';
import { Tiles } from './tiles';
import { formWords } from './words';

/** What the job is called, whose it is, and which code it runs. */
export function Basic({ groups }: { groups: readonly Group[] }) {
  const say = useWords(formWords);
  const { draft, set, faultOf, editing } = useForm();
  const handlers = useHandlers(draft.group);
  const names = handlers?.filter((handler) => handler.parallel === (draft.kind === 'parallel')) ?? [];
  const handler = draft.handler.trim();
  const found = handlers?.find((known) => known.name === handler);

  return (
    <Panel title={say('basic')}>
      <div className={classes.grid}>
        <TextInput
          id={fieldId('name')}
          label={say('field.name')}
          description={say('name_hint')}
          value={draft.name}
          onChange={(event) => set('name', event.currentTarget.value)}
          error={faultOf('name')}
          required
          autoComplete="off"
        />
        <Select
          id={fieldId('group')}
          label={say('field.group')}
          description={editing ? say('group_fixed') : say('group_hint')}
          data={groups.map((group) => ({ value: group.id, label: `${group.name} · ${group.id}` }))}
          value={draft.group || null}
          onChange={(group) => group && set('group', group)}
          error={faultOf('group')}
          disabled={editing}
          allowDeselect={false}
          searchable
          required
        />
        <div className={classes.wide}>
          <Textarea
            id={fieldId('description')}
            label={say('field.description')}
            value={draft.description}
            onChange={(event) => set('description', event.currentTarget.value)}
            error={faultOf('description')}
            autosize
            minRows={1}
            maxRows={6}
          />
        </div>
        <div>
          <Tiles
            id={fieldId('kind')}
            label={say('field.kind')}
            tiles={[
              { value: 'simple', label: say('kind.simple'), hint: say('kind.simple_hint') },
              { value: 'parallel', label: say('kind.parallel'), hint: say('kind.parallel_hint') },
            ]}
            value={draft.kind}
            onChange={(kind) => set('kind', kind)}
          />
          <p className={classes.kindHint}>
            {say(draft.kind === 'parallel' ? 'kind.parallel_hint' : 'kind.simple_hint')}
          </p>
        </div>
        <div>
          <Autocomplete
            id={fieldId('handler')}
            size="xs"
            label={say('field.handler')}
            description={say('handler_hint')}
            data={[...new Set(names.map((known) => known.name))].sort()}
            value={draft.handler}
            onChange={(handler) => set('handler', handler)}
            error={faultOf('handler')}
            required
            maxDropdownHeight={260}
          />
          {handlers && handler !== '' && !found && (
            <Notice tone="orange" mt={6}>
              {say('handler_nobody', { name: handler })}
            </Notice>
          )}
          {found && found.parallel !== (draft.kind === 'parallel') && (
            <Notice tone="orange" mt={6}>
              {say(found.parallel ? 'handler_is_parallel' : 'handler_is_simple', { name: handler })}
            </Notice>
          )}
        </div>
        <TextInput
          id={fieldId('owner')}
          label={say('field.owner')}
          description={say('owner_hint')}
          value={draft.owner}
          onChange={(event) => set('owner', event.currentTarget.value)}
          error={faultOf('owner')}
        />
        <LabelsInput
          id={fieldId('labels')}
          label={say('field.labels')}
          description={say('labels_hint')}
          value={draft.labels}
          onChange={(labels) => set('labels', labels)}
          error={faultOf('labels')}
        />
      </div>
    </Panel>
  );
}

interface LabelsProps {
  id: string;
  label: string;
  description: string;
  value: Draft['labels'];
  onChange: (labels: string[]) => void;
  error?: string | undefined;
}

/** Labels as `key=value`. */
export function LabelsInput({ id, label, description, value, onChange, error }: LabelsProps) {
  return (
    <TagsInput
      id={id}
      size="xs"
      label={label}
      description={description}
      placeholder={value.length === 0 ? 'key=value' : undefined}
      value={value}
      onChange={onChange}
      acceptValueOnBlur
      error={error}
      maxTags={32}
    />
  );
}

/** What the workers of a group have; undefined while it is not known. */
function useHandlers(group: string) {
  const { data } = useQuery({ ...workersQuery(group), enabled: group !== '' });
  return useMemo(() => data?.items.flatMap((worker) => worker.handlers), [data]);
}
