import { Button, Checkbox, Group, Modal, TextInput } from '@mantine/core';
import { useState } from 'react';
import { api, data } from '#/api/client';
import { useWords } from '#/i18n';
import { Notice } from '#/ui/notice';
import { useSubmission } from '#/ui/submission';
import { tell } from '#/ui/tell';
import { uiWords } from '#/ui/words';
import classes from './page.module.css';
import type { User } from './queries';
import { usersWords } from './words';

interface PersonFormProps {
  /** The person to be edited; without one a new one is added. */
  user: User | undefined;
  /** Whether this is the person at the screen, who cannot take the own rights. */
  self: boolean;
  onClose: () => void;
  onSaved: (name: string, password: string | undefined) => void;
}

export function PersonForm({ user, self, onClose, onSaved }: PersonFormProps) {
  const say = useWords(usersWords);
  const ui = useWords(uiWords);
  const [name, setName] = useState('');
  const [displayName, setDisplayName] = useState(user?.display_name ?? '');
  const [administrator, setAdministrator] = useState(user?.administrator ?? false);

  const { busy, problem, fault, onSubmit } = useSubmission(async () => {
    if (user) {
      await api.PATCH('/api/v1/users/{user}', {
        params: { path: { user: user.id }, header: { 'If-Match': `"${user.revision}"` } },
        body: { display_name: displayName, ...(self ? {} : { administrator }) },
      });
      tell(say('saved', { name: displayName }));
      onSaved(user.name, undefined);
      return;
    }
    const created = await data(
      api.POST('/api/v1/users', { body: { name, display_name: displayName || null, administrator } }),
    );
    onSaved(created.name, created.password ?? undefined);
  });

  return (
    <Modal
      opened
      onClose={onClose}
      title={user ? say('edit_title', { name: user.display_name }) : say('new')}
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      <form onSubmit={onSubmit} className={classes.form}>
        <span className="muted">{user ? say('edit_text') : say('new_text')}</span>
        {!user && (
          <TextInput
            label={say('name')}
            description={say('name_hint')}
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={fault('name')}
            required
            maxLength={64}
            autoComplete="off"
            data-autofocus
          />
        )}
        <TextInput
          label={say('display_name')}
          value={displayName}
          onChange={(event) => setDisplayName(event.currentTarget.value)}
          error={fault('display_name')}
          maxLength={128}
          autoComplete="off"
          required={user !== undefined}
        />
        {!self && (
          <Checkbox
            label={say('administrator')}
            description={say('administrator_hint')}
            checked={administrator}
            onChange={(event) => setAdministrator(event.currentTarget.checked)}
          />
        )}
        {problem && <Notice tone="red">{problem.status === 412 ? say('changed_meanwhile') : problem.message}</Notice>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            {ui('cancel')}
          </Button>
          <Button type="submit" loading={busy}>
            {user ? say('save') : say('create')}
          </Button>
        </Group>
      </form>
    </Modal>
  );
}

/** Letters and digits that are not taken for one another. */
const LETTERS = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789';

/** 20 of 57 letters: 116 bits. */
const LENGTH = 20;

/** A password that nobody chose. */
export function newPassword(): string {
  // 228 is the largest multiple of 57 within a byte: what is above would make the first letters likelier.
  const most = 256 - (256 % LETTERS.length);
  let password = '';
  while (password.length < LENGTH) {
    for (const byte of crypto.getRandomValues(new Uint8Array(LENGTH))) {
      if (byte < most && password.length < LENGTH) password += LETTERS[byte % LETTERS.length];
    }
  }
  return password;
}
