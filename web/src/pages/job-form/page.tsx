import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { groupsQuery, itemsOf, jobQuery } from '#/api/queries';
import { sessionQuery, useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { Page } from '#/ui/page';
import { Empty, Failed, Loading } from '#/ui/states';
import { draftOf, emptyDraft } from './draft';
import { JobForm } from './form';
import { formWords } from './words';

const newRoute = getRouteApi('/signed-in/jobs/new');
const editRoute = getRouteApi('/signed-in/jobs/$job/edit');

/** Under what name the typed is kept: another person in the same window does not find it. */
function useKeptAs(what: string): string {
  const { data: session } = useQuery(sessionQuery);
  return `${session?.user.name ?? ''}.${what}`;
}

/** A job from nothing, or from another one. */
export function NewJobPage() {
  const say = useWords(formWords);
  const { copy, group } = newRoute.useSearch();
  const keptAs = useKeptAs(copy ? `copy.${copy}` : 'new');
  const can = useCan();
  const groups = useInfiniteQuery(groupsQuery());
  const original = useQuery({ ...jobQuery(copy ?? ''), enabled: copy !== undefined });
  const failed = [groups, original].find((query) => query.isError && !query.data);
  const mine = itemsOf(groups.data).filter((group) => can('developer', group.id));
  const title = original.data ? say('copy', { name: original.data.name }) : say('new');
  const crumbs = [{ label: say('jobs'), to: '/jobs' }, { label: title }];
  if (failed) return <Failed error={failed.error} retry={() => void failed.refetch()} />;
  if (groups.isPending || (copy !== undefined && original.isPending)) return <Loading />;
  if (mine.length === 0) {
    return (
      <Page title={title} crumbs={crumbs}>
        <Empty title={say('may_not')}>{say('may_not_hint')}</Empty>
      </Page>
    );
  }
  const first = mine.some(({ id }) => id === group) ? (group ?? '') : mine.length === 1 ? (mine[0]?.id ?? '') : '';
  const draft = original.data
    ? { ...draftOf(original.data), name: say('copy_name', { name: original.data.name }) }
    : emptyDraft(first, Intl.DateTimeFormat().resolvedOptions().timeZone);
  return (
    <Page title={title} crumbs={crumbs}>
      <JobForm key={copy ?? 'new'} first={draft} keptAs={keptAs} groups={mine} />
    </Page>
  );
}

/** A job that is there. */
export function EditJobPage() {
  const say = useWords(formWords);
  const { job: id } = editRoute.useParams();
  const keptAs = useKeptAs(`edit.${id}`);
  const can = useCan();
  const groups = useInfiniteQuery(groupsQuery());
  const job = useQuery({ ...jobQuery(id), refetchInterval: 15_000 });
  if (job.isError && !job.data) return <Failed error={job.error} retry={() => void job.refetch()} />;
  if (job.isPending || groups.isPending) return <Loading />;
  const title = say('edit', { name: job.data.name });
  return (
    <Page
      title={title}
      crumbs={[
        { label: say('jobs'), to: '/jobs' },
        { label: job.data.name, to: `/jobs/${id}` },
        { label: say('edit_short') },
      ]}
    >
      {can('developer', job.data.group) ? (
        <JobForm key={id} first={draftOf(job.data)} current={job.data} keptAs={keptAs} groups={itemsOf(groups.data)} />
      ) : (
        <Empty title={say('may_not_edit')}>{say('may_not_hint')}</Empty>
      )}
    </Page>
  );
}
