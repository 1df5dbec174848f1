import { Button, Group, Modal, Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import { api, data, type Schemas } from '#/api/client';
import { type Role, roles } from '#/api/session';
import { useWords } from '#/i18n';
import { Notice } from '#/ui/notice';
import { useSubmission } from '#/ui/submission';
import { uiWords } from '#/ui/words';
import classes from './page.module.css';
import { tokensWords } from './words';

const lives = ['30d', '90d', '365d', 'never'] as const;
type Lives = (typeof lives)[number];

interface TokenFormProps {
  /** Of worker tokens; without it a personal token is made. */
  group: { id: string; name: string } | undefined;
  onClose: () => void;
  onMade: (token: Schemas['CreatedToken']) => void;
}

export function TokenForm({ group, onClose, onMade }: TokenFormProps) {
  const say = useWords(tokensWords);
  const ui = useWords(uiWords);
  const [name, setName] = useState('');
  const [atMost, setAtMost] = useState<Role | 'all'>('all');
  const [life, setLife] = useState<Lives>('90d');

  const { busy, problem, fault, onSubmit } = useSubmission(async () => {
    onMade(
      await data(
        api.POST('/api/v1/tokens', {
          body: {
            name,
            expires_in: life === 'never' ? null : life,
            ...(group ? { worker_of: group.id } : { at_most: atMost === 'all' ? null : atMost }),
          },
        }),
      ),
    );
  });

  return (
    <Modal
      opened
      onClose={onClose}
      title={say(group ? 'new_workers' : 'new_mine')}
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      <form onSubmit={onSubmit} className={classes.form}>
        <TextInput
          label={say('name')}
          description={say('name_hint')}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={fault('name')}
          required
          maxLength={128}
          autoComplete="off"
          data-autofocus
        />
        {group ? (
          <TextInput label={say('group')} value={group.name} readOnly />
        ) : (
          <Select
            label={say('at_most')}
            description={say('at_most_hint')}
            data={[
              { value: 'all', label: say('no_bound') },
              ...roles.map((role) => ({ value: role, label: say(`role.${role}`) })),
            ]}
            value={atMost}
            onChange={(role) => setAtMost((role as Role | 'all' | null) ?? 'all')}
            allowDeselect={false}
            error={fault('at_most')}
          />
        )}
        <Select
          label={say('expires_in')}
          data={lives.map((life) => ({ value: life, label: say(`lives.${life}`) }))}
          value={life}
          onChange={(life) => setLife((life as Lives | null) ?? '90d')}
          allowDeselect={false}
          error={fault('expires_in')}
        />
        {life === 'never' && <Notice tone="orange">{say('never_hint')}</Notice>}
        {problem && <Notice tone="red">{problem.message}</Notice>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            {ui('cancel')}
          </Button>
          <Button type="submit" loading={busy}>
            {say('create')}
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
