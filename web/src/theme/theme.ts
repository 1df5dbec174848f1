import {
  type CSSVariablesResolver,
  createTheme,
  defaultVariantColorsResolver,
  type MantineColorsTuple,
} from '@mantine/core';

/** Verdigris: the accent, from paper to ink. */
const verdigris: MantineColorsTuple = [
  '#e6f4f2',
  '#cfe8e4',
  '#a3d6cf',
  '#75c4ba',
  '#57c4b4',
  '#2c9e90',
  '#0a6c62',
  '#075b53',
  '#064b45',
  '#04332f',
];

/** Greys of the dark theme with a breath of green, as Mantine's components use them: text, borders, inputs, surfaces. */
const dark: MantineColorsTuple = [
  '#e2eae9',
  '#bccac8',
  '#97a8a6',
  '#6b7c7e',
  '#36474a',
  '#1f2c2e',
  '#0f1718',
  '#131b1c',
  '#0d1314',
  '#0a1011',
];

export const theme = createTheme({
  primaryColor: 'verdigris',
  primaryShade: { light: 6, dark: 4 },
  autoContrast: true,
  luminanceThreshold: 0.35,
  colors: { verdigris, dark },
  // Mantine computes what stands on the accent from its light shade alone; ours differs by theme.
  variantColorResolver: (input) => {
    const colours = defaultVariantColorsResolver(input);
    const onAccent = input.variant === 'filled' && (input.color ?? 'verdigris') === 'verdigris';
    return onAccent ? { ...colours, color: 'var(--c-on-accent)' } : colours;
  },
  fontFamily:
    "'Inter Variable', Inter, system-ui, -apple-system, 'Segoe UI', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', 'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
  fontSizes: { xs: '12px', sm: '13px', md: '14px', lg: '16px', xl: '20px' },
  headings: {
    fontWeight: '620',
    sizes: { h1: { fontSize: '20px' }, h2: { fontSize: '15px' }, h3: { fontSize: '14px' } },
  },
  defaultRadius: 'sm',
  radius: { xs: '3px', sm: '6px', md: '8px', lg: '12px', xl: '16px' },
  spacing: { xs: '8px', sm: '12px', md: '16px', lg: '24px', xl: '32px' },
  cursorType: 'pointer',
  components: {
    Button: { defaultProps: { size: 'xs' } },
    Checkbox: { defaultProps: { iconColor: 'var(--c-on-accent)' } },
    ActionIcon: { defaultProps: { variant: 'subtle', color: 'gray' } },
    TextInput: { defaultProps: { size: 'xs' } },
    PasswordInput: { defaultProps: { size: 'sm' } },
    Select: { defaultProps: { size: 'xs' } },
    Textarea: { defaultProps: { size: 'xs' } },
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true, fz: 'xs' } },
    // The placeholder for the focus is a child that no menu may have.
    Menu: { defaultProps: { shadow: 'md', position: 'bottom-end', withInitialFocusPlaceholder: false } },
    Modal: { defaultProps: { centered: true, overlayProps: { backgroundOpacity: 0.45 } } },
  },
});

/** Mantine's own variables point at ours, so that its components wear the same colours. */
export const variables: CSSVariablesResolver = () => {
  const shared = {
    '--mantine-color-body': 'var(--c-surface)',
    '--mantine-color-text': 'var(--c-text)',
    '--mantine-color-dimmed': 'var(--c-muted)',
    '--mantine-color-placeholder': 'var(--c-muted)',
    '--mantine-color-anchor': 'var(--c-accent)',
    '--mantine-color-default': 'var(--c-surface)',
    '--mantine-color-default-hover': 'var(--c-hover)',
    '--mantine-color-default-color': 'var(--c-text)',
    '--mantine-color-default-border': 'var(--c-border)',
    // What cannot be changed is still read.
    '--mantine-color-disabled': 'var(--c-sunken)',
    '--mantine-color-disabled-color': 'var(--c-muted)',
    '--mantine-color-disabled-border': 'var(--c-border)',
    '--mantine-color-error': 'var(--s-red)',
    '--mantine-color-gray-light-color': 'var(--c-text)',
    '--mantine-color-gray-light-hover': 'var(--c-hover)',
    '--mantine-color-gray-subtle-color': 'var(--c-muted)',
    // What an entry of a menu that destroys something is written in.
    '--mantine-color-red-6': 'var(--s-red)',
    '--mantine-color-red-filled': '#b42424',
    '--mantine-color-red-filled-hover': '#991d1d',
    '--mantine-color-red-light-color': 'var(--s-red)',
    '--mantine-color-verdigris-light': 'var(--c-accent-tint)',
    '--mantine-color-verdigris-light-color': 'var(--c-accent)',
    '--mantine-color-verdigris-text': 'var(--c-accent)',
  };
  return { variables: {}, light: shared, dark: shared };
};
