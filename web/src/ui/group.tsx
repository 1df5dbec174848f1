import { Select } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { groupsQuery, itemsOf } from '#/api/queries';
import { useWords } from '#/i18n';
import { uiWords } from './words';

/** The names of the task groups one may see; ids where a name is not known. */
export function useGroupNames(): (group: string) => string {
  const groups = useInfiniteQuery({ ...groupsQuery(), staleTime: 60_000 });
  const names = useMemo(() => new Map(itemsOf(groups.data).map((group) => [group.id, group.name])), [groups.data]);
  return (group) => names.get(group) ?? group;
}

/** A task group by its name, with its id as title. */
export function GroupLink({ group, plain = false }: { group: string; plain?: boolean }) {
  const name = useGroupNames();
  return (
    <Link to="/groups/$group" params={{ group }} className={plain ? 'plain' : undefined} title={group}>
      {name(group)}
    </Link>
  );
}

interface GroupSelectProps {
  value: string | undefined;
  onChange: (group: string | undefined) => void;
}

/** Chooses one of the task groups that one may see, or all of them. */
export function GroupSelect({ value, onChange }: GroupSelectProps) {
  const say = useWords(uiWords);
  const groups = useInfiniteQuery(groupsQuery());
  return (
    <Select
      aria-label={say('group')}
      placeholder={say('all_groups')}
      data={itemsOf(groups.data).map((group) => ({ value: group.id, label: group.name }))}
      value={value ?? null}
      onChange={(group) => onChange(group ?? undefined)}
      searchable
      clearable
      w={180}
    />
  );
}
