import { Button, Group, Modal } from '@mantine/core';
import type { ReactNode } from 'react';
import { useWords } from '#/i18n';
import { CopyButton } from './copy';
import { Notice } from './notice';
import classes from './secret.module.css';
import { uiWords } from './words';

interface SecretProps {
  title: string;
  /** What the secret is, for its copy button. */
  name: string;
  secret: string;
  /** That it is shown only now, and what to do with it. */
  children: ReactNode;
  onClose: () => void;
}

/** Shows a secret once. Only the button closes it, so that a stray click does not lose it. */
export function SecretOnce({ title, name, secret, children, onClose }: SecretProps) {
  const ui = useWords(uiWords);
  return (
    <Modal
      opened
      onClose={onClose}
      title={title}
      closeOnClickOutside={false}
      closeOnEscape={false}
      withCloseButton={false}
    >
      <Notice tone="orange">{children}</Notice>
      <div className={classes.secret} style={{ marginTop: 12 }}>
        <code data-testid="secret">{secret}</code>
        <CopyButton text={secret} label={name} />
      </div>
      <Group justify="flex-end" mt="lg">
        <Button onClick={onClose} data-autofocus>
          {ui('close')}
        </Button>
      </Group>
    </Modal>
  );
}
