import { Drawer } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useWords } from '#/i18n';
import { actorText } from '#/lib/actor';
import { Json } from '#/ui/json';
import { Facts } from '#/ui/page';
import { Empty } from '#/ui/states';
import { Time } from '#/ui/time';
import { uiWords } from '#/ui/words';
import { Changes } from '../job/versions';
import { type AuditEntry, OutcomeBadge, useActionName } from './page';
import classes from './page.module.css';
import { placeOf } from './target';
import { auditWords } from './words';

interface EntryProps {
  entry: AuditEntry | undefined;
  groupName: (group: string) => string;
  onClose: () => void;
}

/** One entry of the trail with what it changed. */
export function Entry({ entry, groupName, onClose }: EntryProps) {
  const say = useWords(auditWords);
  const ui = useWords(uiWords);
  const actionName = useActionName();
  const place = entry && placeOf(entry.target);
  return (
    <Drawer
      opened
      onClose={onClose}
      position="right"
      size="min(640px, 100vw)"
      title={<strong>{entry ? actionName(entry.action) : say('details')}</strong>}
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      {!entry ? (
        <Empty title={say('not_loaded')} compact />
      ) : (
        <>
          <Facts
            facts={[
              [say('at'), <Time key="at" at={entry.at} />],
              [say('actor'), actorText(entry.actor)],
              [
                say('source'),
                <span key="source" className="mono">
                  {entry.source}
                </span>,
              ],
              [
                say('action'),
                <span key="action" className="mono">
                  {entry.action}
                </span>,
              ],
              [
                say('target'),
                <span key="target" className="mono">
                  {entry.target}
                </span>,
              ],
              entry.group != null && [
                say('group'),
                <Link key="group" to="/groups/$group" params={{ group: entry.group }}>
                  {groupName(entry.group)}
                </Link>,
              ],
              [say('outcome'), <OutcomeBadge key="outcome" outcome={entry.outcome} />],
            ]}
          />
          <div className={classes.links}>
            {place && <Link {...place}>{say('open')}</Link>}
            <Link to="/audit" search={{ target: entry.target }}>
              {say('all_of_target')}
            </Link>
            <Link to="/audit" search={{ actor: entry.actor }}>
              {say('all_of_actor')}
            </Link>
          </div>
          <Written before={entry.before} after={entry.after} />
        </>
      )}
    </Drawer>
  );
}

function Written({ before, after }: { before: unknown; after: unknown }) {
  const say = useWords(auditWords);
  const both = before != null && after != null;
  const title = both ? say('changes') : before != null ? say('deleted_as') : say('created_as');
  return (
    <section className={classes.part} aria-label={title}>
      <h3>{title}</h3>
      {both ? (
        <Changes before={before} after={after} />
      ) : before == null && after == null ? (
        <span className="muted">{say('nothing')}</span>
      ) : (
        <Json value={before ?? after} label={title} />
      )}
    </section>
  );
}
