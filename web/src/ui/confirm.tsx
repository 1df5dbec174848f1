import { Button, Group, Modal } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { asProblem } from '#/api/problem';
import { useWords } from '#/i18n';
import { Notice } from './notice';
import { uiWords } from './words';

interface ConfirmProps {
  opened: boolean;
  onClose: () => void;
  title: string;
  /** What will happen, to whom. */
  children: ReactNode;
  /** The verb on the button. */
  verb: string;
  dangerous?: boolean;
  /** Closes when it succeeds; a refusal is shown and the dialog stays. */
  onConfirm: () => Promise<unknown>;
}

/** Asks before something that cannot be taken back. */
export function Confirm({ opened, onClose, title, children, verb, dangerous = false, onConfirm }: ConfirmProps) {
  const say = useWords(uiWords);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  function close() {
    if (busy) return;
    setError(undefined);
    onClose();
  }
  async function confirm() {
    setBusy(true);
    setError(undefined);
    try {
      await onConfirm();
      onClose();
    } catch (error) {
      setError(error);
    } finally {
      setBusy(false);
    }
  }
  return (
    <Modal opened={opened} onClose={close} title={title} closeButtonProps={{ 'aria-label': say('close') }}>
      {children}
      {error !== undefined && (
        <Notice tone="red" mt={12}>
          {asProblem(error).message}
        </Notice>
      )}
      <Group justify="flex-end" mt="lg" gap="xs">
        <Button variant="default" onClick={close} disabled={busy}>
          {say('cancel')}
        </Button>
        <Button color={dangerous ? 'red' : undefined} onClick={() => void confirm()} loading={busy} data-autofocus>
          {verb}
        </Button>
      </Group>
    </Modal>
  );
}
