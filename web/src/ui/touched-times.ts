import { useEffect } from 'react';
import { tell } from './tell';

/** Where nothing hovers, a tap on a time tells its title: lists show no more than how long ago it was. */
export function useTouchedTimes() {
  useEffect(() => {
    if (!window.matchMedia('(hover: none)').matches) return;
    function onClick({ target }: MouseEvent) {
      const time = target instanceof Element ? target.closest<HTMLElement>('time[title]') : null;
      // A link or a button has a meaning of its own.
      if (time && !time.closest('a, button')) tell(time.title);
    }
    document.addEventListener('click', onClick);
    return () => document.removeEventListener('click', onClick);
  }, []);
}
