import { known, useWords } from '#/i18n';
import { formWords } from './words';

/** The word of a field, from the nearest path that has one. */
export function useFieldName(): (field: string) => string {
  const say = useWords(formWords);
  return (field) => {
    for (let path = field; path !== ''; path = path.includes('.') ? path.slice(0, path.lastIndexOf('.')) : '') {
      const key = `field.${path}`;
      const parent = path.includes('.') ? `field.${path.slice(0, path.lastIndexOf('.'))}` : '';
      if (!known(formWords, key)) continue;
      return parent && known(formWords, parent) ? `${say(parent)} · ${say(key)}` : say(key);
    }
    return field;
  };
}
