export { IconPlayerPauseFilled as IconTonePaused, IconPointFilled as IconToneOn } from '@tabler/icons-react';
