import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { itemsOf, type Job, runsQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { Panel } from '#/ui/page';
import { runStates } from '#/ui/state';
import { Empty, Failed, Loading } from '#/ui/states';
import { Table } from '#/ui/table';
import { useRunColumns } from '../runs/columns';
import { jobWords } from './words';

/** The job's runs, newest first. */
export function JobRuns({ job }: { job: Job }) {
  const say = useWords(jobWords);
  const columns = useRunColumns({ job: false });
  const state = runStates.filter((state) => state !== 'planned');
  const list = useInfiniteQuery(runsQuery({ job: job.id, state }));
  if (list.isPending) return <Loading />;
  if (list.isError && !list.data) return <Failed error={list.error} retry={() => void list.refetch()} />;
  return (
    <Panel
      flush
      fill
      title={say('tab.runs')}
      actions={
        <Link to="/runs" search={{ job: String(job.id) }}>
          {say('open_runs')}
        </Link>
      }
    >
      <Table
        label={say('tab.runs')}
        columns={columns}
        rows={itemsOf(list.data)}
        rowKey={(run) => run.id}
        more={list}
        total={list.data?.pages[0]?.total ?? undefined}
        totalCapped={list.data?.pages[0]?.total_capped}
        height="fill"
        empty={<Empty title={say('no_runs')} />}
      />
    </Panel>
  );
}
