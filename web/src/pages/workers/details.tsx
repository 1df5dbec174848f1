import { Drawer } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { itemsOf, runsQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { CopyButton } from '#/ui/copy';
import { Facts } from '#/ui/page';
import { Empty, Failed, Loading } from '#/ui/states';
import { Elapsed, Time } from '#/ui/time';
import { uiWords } from '#/ui/words';
import type { Worker } from './page';
import classes from './page.module.css';
import { Labels, WorkerState } from './table';
import { workersWords } from './words';

interface DetailsProps {
  worker: Worker;
  groupName: string;
  onClose: () => void;
}

/** One worker: what it can run and what it runs. */
export function Details({ worker, groupName, onClose }: DetailsProps) {
  const say = useWords(workersWords);
  const ui = useWords(uiWords);
  return (
    <Drawer
      opened
      onClose={onClose}
      position="right"
      size="min(560px, 100vw)"
      title={<strong>{worker.name}</strong>}
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      <Facts
        facts={[
          [say('state'), <WorkerState key="state" worker={worker} />],
          [
            say('group'),
            <Link key="group" to="/groups/$group" params={{ group: worker.group }}>
              {groupName}
            </Link>,
          ],
          [say('room'), worker.room || say('no_room')],
          [
            say('address'),
            <span key="address" className="mono">
              {worker.address}
            </span>,
          ],
          [
            say('incarnation'),
            <span key="incarnation" className="mono">
              {worker.incarnation} <CopyButton text={worker.incarnation} label={say('incarnation')} />
            </span>,
          ],
          [say('since'), <Time key="since" at={worker.connected_at} milliseconds={false} />],
          [
            say('version'),
            <span key="version" className="mono">
              {worker.sdk_version}
            </span>,
          ],
          [say('servers'), worker.servers.join(', ') || '–'],
          [say('labels'), <Labels key="labels" labels={worker.labels} />],
        ]}
      />
      <section className={classes.part} aria-label={say('running_now')}>
        <h3>{say('running_now')}</h3>
        <Running worker={worker} />
      </section>
      <section className={classes.part} aria-label={say('handlers')}>
        <h3>{say('handlers')}</h3>
        <table className={classes.handlers}>
          <thead>
            <tr>
              <th scope="col">{say('name')}</th>
              <th scope="col" data-align="right">
                {say('concurrency')}
              </th>
              <th scope="col" data-align="right">
                {say('queue')}
              </th>
            </tr>
          </thead>
          <tbody>
            {worker.handlers.map((handler) => (
              <tr key={handler.name}>
                <td>
                  <span className="mono">{handler.name}</span>{' '}
                  {handler.parallel && <span className={classes.label}>{say('parallel')}</span>}
                </td>
                <td data-align="right" className="num">
                  {handler.concurrency}
                </td>
                <td data-align="right" className="num">
                  {handler.queue}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </Drawer>
  );
}

function Running({ worker }: { worker: Worker }) {
  const say = useWords(workersWords);
  const list = useInfiniteQuery(runsQuery({ group: worker.group, state: ['running'], worker: worker.incarnation }));
  if (list.isPending) return <Loading compact />;
  if (list.isError && !list.data) return <Failed error={list.error} retry={() => void list.refetch()} compact />;
  const here = itemsOf(list.data);
  return (
    <>
      {here.length === 0 ? (
        <Empty title={say('not_running')} compact />
      ) : (
        <table className={classes.handlers}>
          <thead>
            <tr>
              <th scope="col">{say('job')}</th>
              <th scope="col" data-align="right">
                {say('attempt')}
              </th>
              <th scope="col" data-align="right">
                {say('started')}
              </th>
            </tr>
          </thead>
          <tbody>
            {here.map((run) => (
              <tr key={run.id}>
                <td>
                  <Link to="/runs/$run" params={{ run: run.id }}>
                    {run.job_name ?? run.id}
                  </Link>
                </td>
                <td data-align="right" className="num">
                  {run.attempt}
                </td>
                <td data-align="right">{run.started_at ? <Elapsed since={run.started_at} /> : '–'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {list.hasNextPage && <span className="muted">{say('only_part')}</span>}
      <p>
        <Link to="/runs" search={{ group: worker.group, worker: worker.incarnation }}>
          {say('all_runs')}
        </Link>
      </p>
    </>
  );
}
