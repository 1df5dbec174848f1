import { useWords } from '#/i18n';
import { Panel } from '#/ui/page';
import { useForm } from '../state';
import { formWords } from '../words';
import classes from './card.module.css';
import { Parallel, Retry, Timeout, WorkerLost } from './failure-cards';
import { Misfire, Overlap, Routing, StartWindow } from './start-cards';

/** What happens when it does not go smoothly. */
export function Policies() {
  const say = useWords(formWords);
  const { draft } = useForm();
  return (
    <Panel title={say('policies')} actions={<span className="muted">{say('policies_hint')}</span>}>
      <div className={classes.cards}>
        <Overlap />
        <Misfire />
        <StartWindow />
        <Retry />
        <Timeout />
        <WorkerLost />
        <Routing />
        {draft.kind === 'parallel' && <Parallel />}
      </div>
    </Panel>
  );
}
