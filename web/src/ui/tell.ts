import { notifications } from '@mantine/notifications';
import { asProblem } from '#/api/problem';

/** Says in passing that something was done. */
export function tell(message: string) {
  notifications.show({ message, autoClose: 4_000 });
}

/** Says that something was refused, with the API's sentence. */
export function tellRefused(error: unknown, title?: string) {
  notifications.show({ title, message: asProblem(error).message, color: 'red', autoClose: 10_000 });
}
