import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { groupsQuery, itemsOf } from '#/api/queries';

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
