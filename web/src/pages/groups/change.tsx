import { ActionIcon, Button, Group as Line, Menu, Modal, NumberInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconDots, IconPencil, IconTrash } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, data } from '#/api/client';
import { aboutQuery, type Group } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { Confirm } from '#/ui/confirm';
import { Notice } from '#/ui/notice';
import { useSubmission } from '#/ui/submission';
import { tell } from '#/ui/tell';
import { uiWords } from '#/ui/words';
import classes from './page.module.css';
import { groupsWords } from './words';
import { WordsOfGroup } from './words-of-group';

/** What one may change of a task group: its owners its words, administrators whether it is there. */
export function GroupChanges({ group }: { group: Group }) {
  const say = useWords(groupsWords);
  const can = useCan();
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [editing, edit] = useDisclosure(false);
  const [deleting, remove] = useDisclosure(false);

  async function deleteGroup() {
    await api.DELETE('/api/v1/groups/{group}', { params: { path: { group: group.id } } });
    tell(say('deleted', { name: group.name }));
    await navigate({ to: '/groups' });
    queries.removeQueries({ queryKey: ['groups', group.id] });
    void queries.invalidateQueries({ queryKey: ['groups'] });
  }

  return (
    <>
      {can('owner', group.id) && (
        <Button variant="default" leftSection={<IconPencil size={14} />} onClick={edit.open}>
          {say('edit')}
        </Button>
      )}
      {can.administrator && (
        <Menu>
          <Menu.Target>
            <ActionIcon variant="default" size={30} aria-label={say('more')}>
              <IconDots size={16} />
            </ActionIcon>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item color="red" leftSection={<IconTrash size={15} />} onClick={remove.open}>
              {say('delete')}
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      )}
      {editing && <EditGroup group={group} onClose={edit.close} />}
      <Confirm
        opened={deleting}
        onClose={remove.close}
        title={say('delete_title', { name: group.name })}
        verb={say('delete')}
        dangerous
        onConfirm={deleteGroup}
      >
        {say('delete_text')}
      </Confirm>
    </>
  );
}

function EditGroup({ group, onClose }: { group: Group; onClose: () => void }) {
  const say = useWords(groupsWords);
  const ui = useWords(uiWords);
  const queries = useQueryClient();
  const [name, setName] = useState(group.name);
  const [description, setDescription] = useState(group.description);
  const [days, setDays] = useState<number | string>(group.keep_days ?? '');
  const usual = useQuery(aboutQuery).data?.limits.keep_days;

  const { busy, problem, fault, onSubmit } = useSubmission(async () => {
    const saved = await data(
      api.PATCH('/api/v1/groups/{group}', {
        params: { path: { group: group.id }, header: { 'If-Match': `"${group.revision}"` } },
        body: { name, description, keep_days: days === '' ? 0 : Number(days) },
      }),
    );
    queries.setQueryData(['groups', group.id], saved);
    void queries.invalidateQueries({ queryKey: ['groups'] });
    tell(say('saved', { name: saved.name }));
    onClose();
  });

  return (
    <Modal
      opened
      onClose={onClose}
      title={say('edit_title', { name: group.name })}
      closeButtonProps={{ 'aria-label': ui('close') }}
    >
      <form onSubmit={onSubmit} className={classes.form}>
        <WordsOfGroup
          name={name}
          onName={setName}
          description={description}
          onDescription={setDescription}
          fault={fault}
        />
        <NumberInput
          label={say('keep_days')}
          description={say('keep_days_hint')}
          placeholder={usual === undefined ? undefined : say('keep_days_default', { count: usual })}
          value={days}
          onChange={setDays}
          min={1}
          max={3650}
          thousandSeparator=","
          allowDecimal={false}
          error={fault('keep_days')}
        />
        {problem && <Notice tone="red">{problem.message}</Notice>}
        <Line justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            {ui('cancel')}
          </Button>
          <Button type="submit" loading={busy}>
            {say('save')}
          </Button>
        </Line>
      </form>
    </Modal>
  );
}
