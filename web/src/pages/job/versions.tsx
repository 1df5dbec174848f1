import { useInfiniteQuery } from '@tanstack/react-query';
import { itemsOf, type Job, versionsQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { actorText } from '#/lib/actor';
import { Panel } from '#/ui/page';
import { Failed, Loading } from '#/ui/states';
import { Time } from '#/ui/time';
import { useFieldName } from '../job-form/field-name';
import { changes } from './diff';
import classes from './page.module.css';
import { jobWords } from './words';

/** The versions of a job, newest first, each with what it changed. */
export default function Versions({ job }: { job: Job }) {
  const say = useWords(jobWords);
  const list = useInfiniteQuery(versionsQuery(String(job.id)));
  if (list.isPending) return <Loading />;
  if (list.isError && !list.data) return <Failed error={list.error} retry={() => void list.refetch()} />;
  const versions = itemsOf(list.data);
  return (
    <div className={classes.versions}>
      {versions.map((version, index) => {
        const older = versions[index + 1];
        return (
          <Panel
            key={version.revision}
            title={say('version', { number: version.revision })}
            actions={
              <span className="muted">
                <Time at={version.updated_at} milliseconds={false} /> ·{' '}
                {say('by', { name: actorText(version.updated_by) })}
              </span>
            }
          >
            {older ? <Changes before={older} after={version} /> : <span className="muted">{say('first_version')}</span>}
          </Panel>
        );
      })}
    </div>
  );
}

/** What differs between two versions, field by field. */
export function Changes({ before, after }: { before: unknown; after: unknown }) {
  const say = useWords(jobWords);
  const fieldName = useFieldName();
  const found = changes(before, after);
  if (found.length === 0) return <span className="muted">{say('no_change')}</span>;
  return (
    <table className={classes.diff}>
      <thead>
        <tr>
          <th scope="col">{say('field')}</th>
          <th scope="col">{say('before')}</th>
          <th scope="col">{say('after')}</th>
        </tr>
      </thead>
      <tbody>
        {found.map((change) => (
          <tr key={change.field}>
            <td title={change.field}>{fieldName(change.field)}</td>
            <td className="mono">{change.before !== undefined && <del>{JSON.stringify(change.before)}</del>}</td>
            <td className="mono">{change.after !== undefined && <ins>{JSON.stringify(change.after)}</ins>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
