import type { PageOf } from '#/api/queries';
import { Panel } from './page';
import { Failed, Loading } from './states';
import { type MorePages, Table, type TableProps } from './table';

/** A list fetched in pages: the answer of `useInfiniteQuery` with `paged(...)`. */
interface PagedQuery extends MorePages {
  isPending: boolean;
  error: Error | null;
  data: { pages: PageOf<unknown>[] } | undefined;
  refetch: () => unknown;
}

interface ListProps<Row> extends Omit<TableProps<Row>, 'more' | 'total' | 'totalCapped'> {
  query: PagedQuery;
  /** Its rows, where the page shows not just what was fetched. */
  rows: readonly Row[];
  /** Within a panel of its own: for lists that do not fill the page. */
  framed?: boolean;
}

/** A list of the API as a table: while it loads, when it failed, and with whatever of it was fetched. */
export function List<Row>({ query, framed = false, ...table }: ListProps<Row>) {
  if (query.isPending) return <Loading />;
  if (query.error && !query.data) return <Failed error={query.error} retry={() => void query.refetch()} />;
  const [first] = query.data?.pages ?? [];
  const list = <Table {...table} more={query} total={first?.total ?? undefined} totalCapped={first?.total_capped} />;
  return framed ? <Panel flush>{list}</Panel> : list;
}
