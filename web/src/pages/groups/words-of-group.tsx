import { Textarea, TextInput } from '@mantine/core';
import { useWords } from '#/i18n';
import { groupsWords } from './words';

interface WordsOfGroupProps {
  name: string;
  onName: (name: string) => void;
  description: string;
  onDescription: (description: string) => void;
  /** What the API said of a field. */
  fault: (field: string) => string | undefined;
}

/** A task group's name and description, in a form. */
export function WordsOfGroup({ name, onName, description, onDescription, fault }: WordsOfGroupProps) {
  const say = useWords(groupsWords);
  return (
    <>
      <TextInput
        label={say('name')}
        value={name}
        onChange={(event) => onName(event.currentTarget.value)}
        required
        maxLength={128}
        error={fault('name')}
        data-autofocus
      />
      <Textarea
        label={say('description')}
        value={description}
        onChange={(event) => onDescription(event.currentTarget.value)}
        maxLength={4096}
        error={fault('description')}
        autosize
        minRows={2}
      />
    </>
  );
}
