import { Kbd, Modal } from '@mantine/core';
import { useWords } from '#/i18n';
import { uiWords } from '#/ui/words';
import classes from './help.module.css';
import { navigation } from './navigation';
import { appWords } from './words';

/** The keyboard shortcuts. */
export function Help({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const say = useWords(appWords);
  const ui = useWords(uiWords);
  const rows: [string, string][] = [
    ['/', say('keys.filter')],
    ['Ctrl K', say('keys.palette')],
    ['?', say('keys.help')],
    ['t', say('keys.theme')],
    ['↑ ↓', say('keys.rows')],
    ...navigation.flat().map((entry): [string, string] => [`g ${entry.key}`, say(entry.word)]),
  ];
  return (
    <Modal opened={opened} onClose={onClose} title={say('help')} closeButtonProps={{ 'aria-label': ui('close') }}>
      <dl className={classes.keys}>
        {rows.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              {keys.split(' ').map((key) => (
                <Kbd key={key} size="sm">
                  {key}
                </Kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
