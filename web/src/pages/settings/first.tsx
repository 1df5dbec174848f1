import { IconCircle, IconCircleCheckFilled } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { groupsQuery, itemsOf, workersQuery } from '#/api/queries';
import { sessionQuery } from '#/api/session';
import { useWords } from '#/i18n';
import { Panel } from '#/ui/page';
import { usersQuery } from '../users/queries';
import classes from './page.module.css';
import { settingsWords } from './words';

/** What the first administrator does before others come; what is done is seen from the API, nothing is remembered. */
export function FirstSteps() {
  const say = useWords(settingsWords);
  const { data: session } = useQuery(sessionQuery);
  const users = useInfiniteQuery(usersQuery());
  const groups = useInfiniteQuery(groupsQuery());
  const workers = useQuery(workersQuery());
  if (!session || !users.data || !groups.data || !workers.data) return null;
  // The person whom the first start made has the number 1; each change of the password counts the revision up.
  const self = itemsOf(users.data).find((user) => user.id === session.user.id);
  if (self?.id !== '1') return null;
  const steps = [
    { id: 'password', done: self.revision > 1, to: undefined },
    { id: 'people', done: itemsOf(users.data).length > 1, to: '/users' },
    { id: 'group', done: itemsOf(groups.data).length > 0, to: '/groups' },
    { id: 'worker', done: workers.data.items.length > 0, to: '/tokens' },
  ] as const;
  if (steps.every((step) => step.done)) return null;
  return (
    <Panel title={say('first')} actions={<span className="muted">{say('first_text')}</span>}>
      <ol className={classes.steps}>
        {steps.map((step) => (
          <li key={step.id} data-done={step.done}>
            {step.done ? <IconCircleCheckFilled size={18} /> : <IconCircle size={18} />}
            <div>
              <span className="sr-only">{say(step.done ? 'done' : 'open')}: </span>
              {step.to && !step.done ? (
                <Link to={step.to}>{say(`first.${step.id}`)}</Link>
              ) : (
                <strong>{say(`first.${step.id}`)}</strong>
              )}
              <div className="muted">{say(`first.${step.id}_hint`)}</div>
            </div>
          </li>
        ))}
      </ol>
    </Panel>
  );
}
